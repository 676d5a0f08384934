// SPDX-License-Identifier: Apache-2.0
#include "bench/trial.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string_view>
#include <utility>

#include "bench/noise.h"
#include "bench/probe_output.h"
#include "core/error.h"
#include "core/phases.h"
#include "core/readiness.h"

namespace tare::bench {
namespace {

constexpr auto kLastLines = std::chrono::seconds(5);  // from the end of a workload to the end of its log

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

// Sleeps, but not beyond a request to stop.
void settle(std::chrono::nanoseconds gap, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop, gap, [] { return false; });
}

class Trial {
 public:
  Trial(const TrialSetting& setting, const PlannedTrial& planned, Backend& backend, TrialExtras& extras)
      : setting_(setting),
        experiment_(setting.suite->experiments[planned.experiment]),
        workload_(in_lane(workload_of(*setting.suite, planned), lane_of(planned.backend))),
        backend_(backend),
        extras_(extras),
        record_(blank_record(setting, planned)) {
    // One deadline for all of it: a start may not outlast its trial.
    workload_.start_timeout = std::min(workload_.start_timeout, experiment_.timeout);
  }

  TrialRecord run(const std::stop_token& stop) {
    const NoiseReading before = read_noise(setting_.options->root);
    const double agent_before = agent_cpu();
    try {
      measure(stop);
      judge_order();
      judge_start();
    } catch (const Error& error) {
      fail_record(setting_, record_, error);
    } catch (const std::exception& error) {
      fail_record(setting_, record_, Error(Code::internal, error.what()));
    }
    const NoiseReading after = read_noise(setting_.options->root);
    record_.seconds = seconds(after.at - before.at);
    judge_noise(before, after, agent_cpu() - agent_before);
    return std::move(record_);
  }

 private:
  bool is_probe() const { return experiment_.measure == Experiment::Measure::probe; }
  double agent_cpu() const { return setting_.options->agent_cost ? setting_.options->agent_cost().cpu_seconds : 0; }

  void measure(const std::stop_token& stop) {
    const Deadline deadline = Deadline::in(experiment_.timeout);
    timeline_.mark(Mark::requested);
    const std::unique_ptr<Instance> instance = backend_.start(workload_, timeline_);
    started_as_ = instance->started_as();
    // Whoever waits for the instance then sees it end, within milliseconds.
    const std::stop_callback on_stop(stop, [&] {
      const std::scoped_lock lock(stop_mutex_);
      if (removing_) return;
      try {
        instance->signal(SIGKILL);
      } catch (const std::exception&) {  // it has ended already, or its deadline will end it
      }
    });
    const Deadline ready_by(std::min(deadline.at(), *timeline_.at(Mark::requested) + start_limit()));
    try {
      await_ready(*instance, workload_.ready, timeline_, ready_by);
      finish(*instance, stop);
    } catch (const Error& error) {
      give_up(*instance, error);
    }
  }

  // A request to stop comes on another thread, and must not signal what is being taken apart.
  void remove(Instance& instance) {
    {
      const std::scoped_lock lock(stop_mutex_);
      removing_ = true;
    }
    instance.remove();
  }

  // Removes what is left of a failed trial here, where what could not be removed can still be said; a destructor would keep it to itself.
  [[noreturn]] void give_up(Instance& instance, const Error& cause) {
    try {
      remove(instance);
    } catch (const Error& left) {
      throw Error(cause.code(), cause.sentence() + "; then " + left.sentence(), cause.hint());
    }
    throw cause;
  }

  // A probe's end is its readiness; only the trial's own deadline bounds it.
  std::chrono::nanoseconds start_limit() const { return is_probe() ? experiment_.timeout : workload_.start_timeout; }

  void finish(Instance& instance, const std::stop_token& stop) {
    ended_ = instance.state() == State::exited;
    const Usage usage = instance.usage();
    extras_.protections = instance.protections();
    extras_.remarks = instance.remarks();
    if (is_probe()) record_.raw_output = output_of(instance);
    own_cpu_ = usage.cpu;
    if (instance.state() != State::exited) {
      instance.stop(workload_.stop_grace);
      if (const auto at_end = instance.usage().cpu) own_cpu_ = at_end;
    }
    remove(instance);
    if (stop.stop_requested()) return;
    if (is_probe()) {
      for (const ProbeValue& value : parse_probe_output(record_.raw_output)) add("probe." + value.name, value.unit, value.value);
    } else {
      add_marks();
    }
    add_usage(usage);
  }

  static std::string output_of(Instance& instance) {
    const Log& log = instance.log();
    if (!log.wait_closed(Deadline::in(kLastLines))) {
      throw Error(Code::timeout, "the output of instance " + instance.id() + " did not end with it",
                  "does a process that it left behind hold its stdout?");
    }
    if (log.dropped() > 0) {
      throw Error(Code::exhausted, "the workload printed more than is kept: " + std::to_string(log.dropped()) + " lines were dropped",
                  "let it print its result alone");
    }
    return log.text(Stream::out);
  }

  void add(std::string metric, std::string unit, double value) {
    Sample sample;
    sample.run = setting_.run;
    sample.block = record_.planned.block;
    sample.trial = record_.planned.number;
    sample.backend = lane_of(record_.planned.backend).backend;
    sample.variant = record_.variant;
    sample.workload = record_.workload;
    sample.experiment = record_.experiment;
    sample.metric = std::move(metric);
    sample.unit = std::move(unit);
    sample.value = value;
    record_.samples.push_back(std::move(sample));
  }

  void add_marks() {
    std::optional<std::chrono::nanoseconds> bound;  // of the marks that a guest's clock told
    for (std::size_t i = 1; i < kMarkCount; ++i) {
      const auto mark = static_cast<Mark>(i);
      if (const auto at = timeline_.seconds(mark)) add("mark." + std::string(name(mark)), "s", *at);
      if (const auto guest = timeline_.guest(mark)) bound = std::max(bound.value_or(std::chrono::nanoseconds(0)), guest->error_bound);
    }
    if (bound) add("clock.error_bound", "s", seconds(*bound));
    for (const Phase& phase : phases_of(timeline_)) {
      const std::string metric = "phase." + std::string(phase.name);
      if (phase.seconds) {
        add(metric, "s", *phase.seconds);
      } else {
        extras_.missing[metric] = phase.missing;
      }
    }
    const auto stopping = timeline_.at(Mark::stopping);
    if (!stopping) return;
    // How long a stop takes says nothing as a time since `requested`.
    if (const auto exited = timeline_.at(Mark::exited)) add("stop.exited", "s", seconds(*exited - *stopping));
    if (const auto removed = timeline_.at(Mark::removed)) add("stop.removed", "s", seconds(*removed - *stopping));
  }

  void add_usage(const Usage& u) {
    const auto time = [&](const char* metric, const std::optional<std::chrono::nanoseconds>& value) {
      if (value) add(metric, "s", seconds(*value));
    };
    const auto bytes = [&](const char* metric, const std::optional<Bytes>& value) {
      if (value) add(metric, "bytes", static_cast<double>(value->count));
    };
    const auto count = [&](const char* metric, const std::optional<std::uint64_t>& value) {
      if (value) add(metric, "1", static_cast<double>(*value));
    };
    time("usage.cpu", u.cpu);
    time("usage.cpu_user", u.cpu_user);
    time("usage.cpu_system", u.cpu_system);
    bytes("usage.memory_peak", u.memory_peak);
    if (!ended_) {  // else its processes are gone; what is left in the group is not what it used
      bytes("usage.memory", u.memory);
      bytes("usage.memory_pss", u.memory_pss);
      count("usage.processes", u.processes);
    }
    bytes("usage.io_read", u.io_read);
    bytes("usage.io_write", u.io_write);
    count("usage.io_reads", u.io_reads);
    count("usage.io_writes", u.io_writes);
    bytes("usage.network_receive", u.network_receive);
    bytes("usage.network_transmit", u.network_transmit);
    count("usage.switches_voluntary", u.switches_voluntary);
    count("usage.switches_involuntary", u.switches_involuntary);
    count("usage.oom_kills", u.oom_kills);
    time("usage.vm_cpu_vcpu", u.vm_cpu_vcpu);
    time("usage.vm_cpu_emulator", u.vm_cpu_emulator);
    time("usage.vm_cpu_iothread", u.vm_cpu_iothread);
    time("usage.vm_cpu_vhost", u.vm_cpu_vhost);
    time("usage.vm_vcpu_delay", u.vm_vcpu_delay);
    for (const auto& [reason, exits] : u.vm_exits) add("usage.vm_exits_" + reason, "1", static_cast<double>(exits));
    time("usage.guest_cpu", u.guest_cpu);
    time("usage.guest_steal", u.guest_steal);
    bytes("usage.guest_memory_used", u.guest_memory_used);
    bytes("usage.guest_memory_total", u.guest_memory_total);
    bytes("usage.guest_io_read", u.guest_io_read);
    bytes("usage.guest_io_write", u.guest_io_write);
    count("usage.guest_io_reads", u.guest_io_reads);
    count("usage.guest_io_writes", u.guest_io_writes);
    bytes("usage.guest_network_receive", u.guest_network_receive);
    bytes("usage.guest_network_transmit", u.guest_network_transmit);
  }

  void set_state(const std::string& state, const std::string& sentence) {
    record_.state = state;
    record_.sentence = sentence;
    for (Sample& sample : record_.samples) sample.state = state;
  }

  void judge_order() {
    if (const auto disorder = timeline_.disorder()) set_state("invalid:disorder", "marks are out of order: " + *disorder);
  }

  void judge_start() {
    if (started_as_ == workload_.start) return;
    set_state("invalid:start",
              "nothing waited for this start: it was " + std::string(name(started_as_)) + " and not " + std::string(name(workload_.start)));
  }

  void judge_noise(const NoiseReading& before, const NoiseReading& after, double agent_cpu_used) {
    if (record_.state != "ok") return;
    // A backend that cannot tell what its instance used cannot have it told from the use of others.
    NoiseReading late = after;
    if (!own_cpu_) late.busy.reset();
    const double own = own_cpu_ ? seconds(*own_cpu_) : 0;
    if (const auto found = disturbance(before, late, own + agent_cpu_used)) set_state("suspect:" + found->reason, found->sentence);
  }

  const TrialSetting& setting_;
  const Experiment& experiment_;
  Workload workload_;
  Backend& backend_;
  TrialExtras& extras_;
  TrialRecord record_;
  std::mutex stop_mutex_;
  bool removing_ = false;
  Start started_as_ = Start::cold;
  bool ended_ = false;  // before its usage was read
  Timeline timeline_;   // outlives the instance, which marks it
  std::optional<std::chrono::nanoseconds> own_cpu_;
};

/// What the trial before took is there again, and nobody is at work on it. A failure is the start's to tell.
void prepare_again(const TrialSetting& setting, const PlannedTrial& planned, Backend& backend) {
  const Workload workload = in_lane(workload_of(*setting.suite, planned), lane_of(planned.backend));
  if (workload.start == Start::cold) return;
  try {
    backend.prepare(workload);
  } catch (const std::exception&) {  // NOLINT: the trial is then invalid, or fails for the same reason
  }
}

}  // namespace

const Workload& workload_of(const Suite& suite, const PlannedTrial& planned) {
  const Experiment& experiment = suite.experiments[planned.experiment];
  return suite.workloads.at(planned.empty ? *experiment.empty : experiment.workload);
}

TrialRecord blank_record(const TrialSetting& setting, const PlannedTrial& planned) {
  TrialRecord record;
  record.planned = planned;
  record.experiment = setting.suite->experiments[planned.experiment].name;
  record.workload = workload_of(*setting.suite, planned).name;
  record.variant = name(in_lane(workload_of(*setting.suite, planned), lane_of(planned.backend)).start);
  record.state = "ok";
  return record;
}

void fail_record(const TrialSetting& setting, TrialRecord& record, const Error& error) {
  record.state = "failed:" + std::string(name(error.code()));
  record.sentence = error.sentence();
  record.hint = error.hint();
  Sample sample;
  sample.run = setting.run;
  sample.block = record.planned.block;
  sample.trial = record.planned.number;
  sample.backend = lane_of(record.planned.backend).backend;
  sample.variant = record.variant;
  sample.workload = record.workload;
  sample.experiment = record.experiment;
  const bool probe = setting.suite->experiments[record.planned.experiment].measure == Experiment::Measure::probe;
  sample.metric = probe ? "probe" : "mark.ready";
  sample.unit = probe ? "ns/op" : "s";
  sample.state = record.state;
  record.samples = {sample};
}

std::optional<TrialRecord> run_trial(const TrialSetting& setting, const PlannedTrial& planned, Backend& backend, TrialExtras& extras,
                                     const std::stop_token& stop) {
  prepare_again(setting, planned, backend);
  settle(setting.suite->experiments[planned.experiment].settle, stop);
  if (stop.stop_requested()) return std::nullopt;
  TrialRecord record = Trial(setting, planned, backend, extras).run(stop);
  if (stop.stop_requested()) return std::nullopt;
  return record;
}

}  // namespace tare::bench
