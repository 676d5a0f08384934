// SPDX-License-Identifier: Apache-2.0
// What the agent costs while it waits: its memory after every backend was probed (libvirt's embedded driver is loaded then), and
// the CPU of ten seconds in which a Prometheus scrapes once a second.
#include <unistd.h>

#include <csignal>

#include "agent/client.h"
#include "agent/cost.h"
#include "core/error.h"
#include "core/paths.h"
#include "core/process.h"
#include "tests/perf/perf.h"

namespace tare {
namespace {

using namespace std::chrono_literals;

void measure(perf::Report& report) {
  const TempDir run;
  Child::Options options;
  options.argv = {TARE_BINARY_DIR "/bin/tare", "agent"};
  options.extra_environment = {"TARE_RUN_DIR=" + run.path().string()};
  options.die_with_parent = true;
  Child agent = Child::spawn(options);
  const agent::Client client(run.path() / "tare.sock");
  const Deadline deadline = Deadline::in(10s);
  while (!client.answers()) {
    if (deadline.passed()) throw Error(Code::timeout, "the agent did not get ready");
    std::this_thread::sleep_for(10ms);
  }
  const std::string host = client.get("/tare/v1/host");  // probes all backends, so libvirt's driver is loaded from here on
  const bool driver = host.find("via libvirt") != std::string::npos;
  // Its first look (the last run's result is worked out anew for /metrics) is done once a second costs nothing.
  auto before = agent::cost_of(agent.pid());
  for (int second = 0; second < 30; ++second) {
    std::this_thread::sleep_for(1s);
    const auto now = agent::cost_of(agent.pid());
    const bool quiet = before && now && now->cpu_seconds - before->cpu_seconds < 0.005;
    before = now;
    if (quiet) break;
  }
  for (int second = 0; second < 10; ++second) {
    client.get("/metrics");
    std::this_thread::sleep_for(1s);
  }
  const auto after = agent::cost_of(agent.pid());
  if (!before || !after) throw Error(Code::failed, "the agent ended while it was measured");
  if (driver) {
    report.limit("agent.idle_memory", after->resident_bytes, 40.0 * 1024 * 1024, "B");
  } else {
    report.missing("agent.idle_memory", "the VM backend cannot run here, and libvirt's driver is most of what is to be weighed");
  }
  report.limit("agent.scrape_cpu", (after->cpu_seconds - before->cpu_seconds) / 10 * 100, 0.5, "%");
  agent.signal(SIGTERM);
  agent.wait(Deadline::in(30s));
}

}  // namespace
}  // namespace tare

int main(int argc, char** argv) {
  tare::perf::Report report(argc, argv);
  if (!report.wants("agent.")) return report.finish();
  try {
    tare::measure(report);
  } catch (const tare::Error& e) {
    for (const char* name : {"agent.idle_memory", "agent.scrape_cpu"}) report.failed(name, e.what());
  }
  return report.finish();
}
