// SPDX-License-Identifier: Apache-2.0
#include "vm/host_side.h"

#include <cstdio>
#include <ctime>
#include <string>
#include <system_error>

#include "core/files.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;
using std::chrono::nanoseconds;

struct Spent {
  nanoseconds on_cpu{0};
  nanoseconds queued{0};
};

std::optional<Spent> spent(const fs::path& task) {
  const auto text = try_read_file(task / "schedstat");
  unsigned long long on_cpu = 0, queued = 0;
  if (!text || std::sscanf(text->c_str(), "%llu %llu", &on_cpu, &queued) != 2) return std::nullopt;
  return Spent{nanoseconds(on_cpu), nanoseconds(queued)};
}

std::string name_of(const fs::path& task) {
  std::string name = try_read_file(task / "comm").value_or("");
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

bool is_vcpu(const std::string& name) {
  return name.rfind("CPU ", 0) == 0 || name.rfind("ALL CPUs/", 0) == 0;  // the latter where one thread emulates them all in turn
}

// Kernel threads have no command line and no parent that we know: by their name, which holds the process that they serve.
nanoseconds kernel_threads(const fs::path& proc, const std::string& name) {
  nanoseconds sum{0};
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(proc, ignored)) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos || name_of(entry.path()) != name) continue;
    if (const auto of = spent(entry.path())) sum += of->on_cpu;
  }
  return sum;
}

}  // namespace

std::optional<HostSide> read_host_side(const fs::path& proc, int pid, bool has_vhost,
                                       const std::function<std::optional<nanoseconds>()>& total) {
  const fs::path process = proc / std::to_string(pid);
  const std::string vhost = "vhost-" + std::to_string(pid);
  HostSide out;
  nanoseconds own_vhost{0};
  bool any = false, is_thread = false;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(process / "task", ignored)) {
    const auto of = spent(entry.path());
    if (!of) continue;  // it has ended meanwhile
    any = true;
    const std::string name = name_of(entry.path());
    if (is_vcpu(name)) {
      out.vcpu += of->on_cpu;
      out.vcpu_delay += of->queued;
    } else if (name.rfind("IO iothread", 0) == 0) {  // and not "IO mon_iothread", which serves the monitor
      out.iothread += of->on_cpu;
    } else if (name == vhost) {
      is_thread = true;
      own_vhost += of->on_cpu;
    }
  }
  const auto all = total();
  if (!any || !all) return std::nullopt;
  out.emulator = *all - out.vcpu - out.iothread - own_vhost;
  if (out.emulator < nanoseconds(0)) return std::nullopt;  // another process has its number by now
  out.vhost = has_vhost && !is_thread ? kernel_threads(proc, vhost) : own_vhost;
  return out;
}

std::optional<HostSide> read_host_side(int pid, bool has_vhost) {
  return read_host_side("/proc", pid, has_vhost, [pid]() -> std::optional<nanoseconds> {
    clockid_t clock{};
    timespec time{};
    if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return std::nullopt;
    return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
  });
}

}  // namespace tare::vm
