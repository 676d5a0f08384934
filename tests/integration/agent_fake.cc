// SPDX-License-Identifier: Apache-2.0
// `tare` with backends that need no kernel feature: the agent, its API and the command line are the real ones. TARE_FAKE_TRIAL_MS is how
// long the workload of each trial takes, TARE_FAKE_LOOK_MS how long a look at the host does. Command `fail` ends with code 3; `disorder`
// gives the VM marks that are out of order.
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "agent/backends.h"
#include "agent/cli/main.h"
#include "core/error.h"
#include "tests/fakes/fake_exec.h"

namespace {

using namespace tare;

class FakeInstance : public Instance {
 public:
  FakeInstance(const Workload& workload, Timeline& timeline, double factor, bool disordered) : id_(new_instance_id()), timeline_(timeline) {
    const char* text = std::getenv("TARE_FAKE_TRIAL_MS");  // NOLINT(concurrency-mt-unsafe)
    const double milliseconds = (text == nullptr ? 1.0 : std::atof(text)) * factor;
    const Instant now = Instant::now();
    if (disordered) timeline_.mark(Mark::prepared, now + std::chrono::seconds(1));  // after `launched`
    for (const Mark mark : {Mark::prepared, Mark::launched, Mark::executed}) timeline_.mark(mark, now);
    end_at_ = now + std::chrono::nanoseconds(static_cast<std::int64_t>(milliseconds * 1e6));
    if (workload.command == std::vector<std::string>{"fail"}) exit_.code = 3;
  }
  const std::string& id() const override { return id_; }
  State state() const override { return Instant::now() >= end_at_ ? State::exited : State::running; }
  std::string address() const override { return "127.0.0.1"; }
  Usage usage() const override {
    Usage usage;
    usage.cpu_user = std::chrono::milliseconds(3);
    usage.cpu_system = std::chrono::milliseconds(1);
    usage.cpu = std::chrono::milliseconds(4);
    usage.memory_peak = 5_MiB;
    return usage;
  }
  const Log& log() const override { return log_; }
  std::map<std::string, std::string> protections() const override { return {{"namespaces", "none"}}; }
  std::optional<Exit> wait(Deadline deadline) override {
    std::unique_lock lock(mutex_);
    const Instant until = std::min(deadline.at(), end_at_);
    const auto left = until - Instant::now();
    if (left.count() > 0) killed_.wait_for(lock, left, [this] { return exit_.signaled; });
    if (!exit_.signaled && Instant::now() < end_at_) return std::nullopt;
    timeline_.mark(Mark::exited);
    return exit_;
  }
  void signal(int number) override {
    const std::scoped_lock lock(mutex_);
    if (!exit_.signaled) exit_ = {number, true, false};
    end_at_ = std::min(end_at_, Instant::now());
    killed_.notify_all();
  }
  void pause() override {}
  void resume() override {}
  void update(const Limits&) override {}
  std::unique_ptr<Exec> start_exec(const ExecRequest&, Deadline) override { return std::make_unique<fakes::FakeExec>(ExecResult{}); }
  Exit stop(std::chrono::nanoseconds) override {
    timeline_.mark(Mark::stopping);
    signal(15);
    return *wait(Deadline::never());
  }
  void remove() override {
    signal(9);
    timeline_.mark(Mark::removed);
  }

 private:
  const std::string id_;
  Timeline& timeline_;
  Log log_;
  std::mutex mutex_;
  std::condition_variable killed_;
  Instant end_at_;
  Exit exit_;
};

class FakeBackend : public Backend {
 public:
  FakeBackend(std::string name, double factor) : name_(std::move(name)), factor_(factor) {}
  std::string_view name() const override { return name_; }
  Probe probe() const override {
    Probe probe;
    probe.able = true;
    probe.implementation = "fake 2.1";
    probe.emulated = name_ == "vm";
    probe.accelerator = name_ == "vm" ? "tcg" : "";
    return probe;
  }
  void prepare(const Workload&) override {}
  std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) override {
    if (workload.image == "no/such-image") throw Error(Code::not_found, "image 'no/such-image' is not there", "use tare/probe");
    const bool disordered = name_ == "vm" && workload.command == std::vector<std::string>{"disorder"};
    return std::make_unique<FakeInstance>(workload, timeline, factor_, disordered);
  }

 private:
  const std::string name_;
  const double factor_;
};

class FakeSet : public agent::BackendSet {
 public:
  std::vector<Backend*> all() const override { return {metal_.get(), container_.get(), vm_.get()}; }
  ControlGroups* control_groups() const override { return nullptr; }
  std::vector<pid_t> helpers() const override { return {}; }
  std::vector<agent::Check> checks() const override {
    const char* text = std::getenv("TARE_FAKE_LOOK_MS");  // NOLINT(concurrency-mt-unsafe)
    if (text != nullptr) std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(text)));
    return {};
  }

 private:
  std::unique_ptr<Backend> metal_ = std::make_unique<FakeBackend>("metal", 1);
  std::unique_ptr<Backend> container_ = std::make_unique<FakeBackend>("container", 1.5);
  std::unique_ptr<Backend> vm_ = std::make_unique<FakeBackend>("vm", 4);
};

}  // namespace

int main(int argc, char** argv) {
  return tare::agent::cli::run(argc, argv, [](const tare::agent::Config&) { return std::make_unique<FakeSet>(); });
}
