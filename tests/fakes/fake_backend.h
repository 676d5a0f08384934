// SPDX-License-Identifier: Apache-2.0
// A Backend that does what a test tells it to: delays, marks, output, usage, failures. It runs no workload, so the contract
// suite, which looks at what workloads do, is for the real backends alone. No process is started; time passes on one thread per instance.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace tare::fakes {

/// What one instance does. Delays count from start().
struct Script {
  std::chrono::nanoseconds prepared{0};
  std::chrono::nanoseconds launched{0};
  std::optional<std::chrono::nanoseconds> kernel;  // a VM's; absent elsewhere
  std::optional<std::chrono::nanoseconds> init;
  std::chrono::nanoseconds clock_error{0};        // of the guest's clock that told those two
  std::chrono::nanoseconds executed{0};           // start() returns here
  std::optional<std::chrono::nanoseconds> exits;  // after `executed`; absent: runs until it is stopped
  Exit exit;                                      // with which it ends by itself
  std::string output;                             // written to stdout as soon as it executes
  std::string errors;                             // the same for stderr
  std::chrono::nanoseconds stopping{0};           // from SIGTERM to its end
  bool ignores_term = false;                      // ends by SIGKILL only
  Usage usage;                                    // the same at every call
  std::map<std::string, std::string> protections;
  std::vector<std::string> remarks;
  std::string address = "127.0.0.1";
  std::optional<Start> started_as;                                  // absent: as the workload asked
  std::function<ExecResult(const std::vector<std::string>&)> exec;  // absent: exit code 0, argv joined on stdout
  std::optional<Error> start_fails;                                 // thrown by start() after `executed`
  std::optional<Error> remove_fails;                                // thrown by the first remove()
  std::function<void(const Limits&)> updated;                       // called by each update(); may throw
  bool disordered = false;                                          // marks `launched` before `prepared`
};

class FakeBackend : public Backend {
 public:
  explicit FakeBackend(std::string name);
  ~FakeBackend() override;

  std::string_view name() const override { return name_; }
  Probe probe() const override;
  void prepare(const Workload& workload) override;
  std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) override;

  // What the test sets before the run.
  Probe probe_result;                                             // able, unless the test says otherwise
  std::optional<Error> prepare_fails;                             // thrown by prepare()
  std::function<Script(const Workload&, int started)> behaviour;  // called by each start(); `started` counts from 1

  // What the test asks afterwards.
  int started() const;
  /// Instances that exist now: 0 after everything was removed.
  int alive() const;
  std::vector<std::string> prepared_workloads() const;

 private:
  struct Shared;
  std::string name_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace tare::fakes
