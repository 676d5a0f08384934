// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmath>
#include <ctime>
#include <optional>
#include <set>
#include <sstream>

#include "agent/cost.h"
#include "agent/journal.h"
#include "agent/metrics_catalogue.h"
#include "agent/version.h"
#include "core/error.h"

namespace tare::agent {
namespace {

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    out.emplace_back(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return out;
}

// ×√2 steps: the error of a quantile read from them stays below 20 % (the exact one is in tare_result_*).
std::vector<double> buckets(double first, int count, double factor) {
  std::vector<double> out;
  double bound = first;
  for (int i = 0; i < count; ++i, bound *= factor) out.push_back(bound);
  return out;
}

std::optional<double> value_of(const bench::TrialRecord& trial, std::string_view metric) {
  for (const bench::Sample& sample : trial.samples) {
    if (sample.metric == metric) return sample.value;
  }
  return std::nullopt;
}

struct UsageRow {
  std::string_view metric;  // of a sample
  std::string_view family;
  std::string_view label;  // the last label's value, where it has one beside backend and workload
};
constexpr std::array kUsage = {
    UsageRow{"usage.cpu_user", "tare_cpu_usage_seconds_total", "user"},
    UsageRow{"usage.cpu_system", "tare_cpu_usage_seconds_total", "system"},
    UsageRow{"usage.memory_peak", "tare_memory_peak_bytes", ""},
    UsageRow{"usage.memory_pss", "tare_memory_pss_bytes", ""},
    UsageRow{"usage.oom_kills", "tare_memory_oom_kills_total", ""},
    UsageRow{"usage.io_read", "tare_io_read_bytes_total", ""},
    UsageRow{"usage.io_write", "tare_io_write_bytes_total", ""},
    UsageRow{"usage.io_reads", "tare_io_reads_total", ""},
    UsageRow{"usage.io_writes", "tare_io_writes_total", ""},
    UsageRow{"usage.network_receive", "tare_network_receive_bytes_total", ""},
    UsageRow{"usage.network_transmit", "tare_network_transmit_bytes_total", ""},
    UsageRow{"usage.switches_voluntary", "tare_context_switches_total", "voluntary"},
    UsageRow{"usage.switches_involuntary", "tare_context_switches_total", "involuntary"},
    UsageRow{"usage.processes", "tare_processes", ""},
    UsageRow{"usage.vm_cpu_vcpu", "tare_vm_cpu_seconds_total", "vcpu"},
    UsageRow{"usage.vm_cpu_emulator", "tare_vm_cpu_seconds_total", "emulator"},
    UsageRow{"usage.vm_cpu_iothread", "tare_vm_cpu_seconds_total", "iothread"},
    UsageRow{"usage.vm_cpu_vhost", "tare_vm_cpu_seconds_total", "vhost"},
    UsageRow{"usage.vm_vcpu_delay", "tare_vm_vcpu_delay_seconds_total", ""},
    UsageRow{"usage.vm_exits_io", "tare_vm_exits_total", "io"},
    UsageRow{"usage.vm_exits_mmio", "tare_vm_exits_total", "mmio"},
    UsageRow{"usage.vm_exits_halt", "tare_vm_exits_total", "halt"},
    UsageRow{"usage.vm_exits_interrupt", "tare_vm_exits_total", "interrupt"},
    UsageRow{"usage.vm_exits_interrupt_window", "tare_vm_exits_total", "interrupt_window"},
    UsageRow{"usage.vm_exits_nmi_window", "tare_vm_exits_total", "nmi_window"},
    UsageRow{"usage.vm_exits_hypercall", "tare_vm_exits_total", "hypercall"},
    UsageRow{"usage.vm_exits_other", "tare_vm_exits_total", "other"},
    UsageRow{"usage.guest_memory_used", "tare_vm_guest_memory_bytes", "used"},
    UsageRow{"usage.guest_memory_total", "tare_vm_guest_memory_bytes", "total"},
};

struct BuiltWith {
  std::string implementation;
  std::string version;
};

// "qemu 7.2.22 via libvirt 9.0.0" under TCG → "qemu-tcg via libvirt, emulated" and "9.0.0": libvirt's version is the last one named. What
// names no version is tare's own work, and has tare's.
BuiltWith built_with(const Probe& probe) {
  BuiltWith out{"", kVersion};
  std::istringstream words(probe.implementation);
  for (std::string word; words >> word;) {
    if (word.front() >= '0' && word.front() <= '9') {
      out.version = word;
    } else {
      const bool first = out.implementation.empty();
      out.implementation += (first ? "" : " ") + word + (first && !probe.accelerator.empty() ? "-" + probe.accelerator : "");
    }
  }
  if (probe.emulated) out.implementation += ", emulated";
  return out;
}

std::string outcome_of(const std::string& state) {
  if (state == "failed:timeout") return "timeout";
  if (state.starts_with("failed")) return "failed";
  return state.starts_with("invalid") ? "discarded" : "ok";
}

prometheus::MetricFamily exposed(const Family& family, const std::map<MetricTable::Labels, double>& values) {
  prometheus::MetricFamily out;
  out.name = family.name;
  out.help = family.help;
  out.type = family.kind == Family::Kind::counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
  const auto names = split(family.labels);
  for (const auto& [labels, value] : values) {
    prometheus::ClientMetric metric;
    for (std::size_t i = 0; i < names.size(); ++i) metric.label.push_back({names[i], labels[i]});
    metric.counter.value = value;
    metric.gauge.value = value;
    out.metric.push_back(std::move(metric));
  }
  return out;
}

void put_process(MetricTable& table) {
  const auto put = [&](const char* name, std::optional<double> value) {
    if (value) table.set(name, {}, *value);
  };
  if (const auto self = cost_of(::getpid())) {
    put("process_resident_memory_bytes", self->resident_bytes);
    put("process_virtual_memory_bytes", self->virtual_bytes);
    put("process_start_time_seconds", self->start_time_seconds);
  }
  put("process_cpu_seconds_total", agent_cost({}).cpu_seconds);
  put("process_open_fds", open_descriptors());
  put("process_max_fds", descriptor_limit());
}

}  // namespace

double& MetricTable::at(std::string_view name, Labels labels) {
  const Family& family = metric_family(name);
  if (split(family.labels).size() != labels.size()) {
    throw Error(Code::internal, "metric " + std::string(name) + " has other labels in the catalogue");
  }
  return families_[std::string(name)][std::move(labels)];
}

void MetricTable::set(std::string_view name, Labels labels, double value) { at(name, std::move(labels)) = value; }
void MetricTable::add(std::string_view name, Labels labels, double value) { at(name, std::move(labels)) += value; }
void MetricTable::clear(std::string_view name) {
  const auto found = families_.find(name);
  if (found != families_.end()) families_.erase(found);
}

void MetricTable::clear(std::string_view name, const std::string& first) {
  const auto found = families_.find(name);
  if (found == families_.end()) return;
  std::erase_if(found->second, [&](const auto& entry) { return !entry.first.empty() && entry.first.front() == first; });
  if (found->second.empty()) families_.erase(found);
}

// prometheus-cpp's own registry, for the histograms alone.
class Metrics::Histograms {
 public:
  void observe(const char* name, const MetricTable::Labels& values, double value, const std::vector<double>& bounds) {
    const Family& catalogued = metric_family(name);
    const auto names = split(catalogued.labels);
    prometheus::Labels labels;
    for (std::size_t i = 0; i < names.size(); ++i) labels[names[i]] = values.at(i);
    auto found = families_.find(name);
    if (found == families_.end()) {
      auto& family = prometheus::BuildHistogram().Name(name).Help(std::string(catalogued.help)).Register(registry_);
      found = families_.emplace(name, &family).first;
    }
    found->second->Add(labels, bounds).Observe(value);
  }
  std::vector<prometheus::MetricFamily> collect() const { return registry_.Collect(); }

 private:
  prometheus::Registry registry_;
  std::map<std::string, prometheus::Family<prometheus::Histogram>*> families_;
};

Metrics::Metrics() : histograms_(std::make_unique<Histograms>()) {
  table_.set("tare_build_info", {kVersion, kRevision, kCompiler}, 1);
  table_.set("tare_run_active", {}, 0);
  table_.set("tare_agent_event_streams", {}, 0);
  for (const char* outcome : {"ok", "failed", "aborted"}) table_.set("tare_runs_total", {outcome}, 0);
}

Metrics::~Metrics() = default;

void Metrics::set_examination(const Examination& e) {
  const auto fact = [&](const char* key) {
    const auto found = e.host.facts.find(key);
    return found == e.host.facts.end() ? std::string() : found->second;
  };
  set_backends(e.backends);
  utsname names{};
  ::uname(&names);
  const std::scoped_lock lock(mutex_);
  table_.clear("tare_host_info");
  table_.set("tare_host_info", {names.release, names.machine, fact("cpu.model"), fact("virtualization")}, 1);
  table_.set("tare_host_cpu_cores", {}, static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)));
  table_.set("tare_host_memory_bytes", {}, static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  table_.clear("tare_check_ok");
  for (const Check& check : e.checks) table_.set("tare_check_ok", {check.name}, check.verdict == Check::Verdict::ok ? 1 : 0);
}

void Metrics::set_backends(const std::vector<bench::BackendInfo>& backends) {
  const std::scoped_lock lock(mutex_);
  // A run may have asked for some of them; what is known of the others stays true.
  for (const bench::BackendInfo& backend : backends) {
    table_.clear("tare_backend_info", backend.name);
    table_.set("tare_backend_up", {backend.name}, backend.probe.able ? 1 : 0);
    if (!backend.probe.able) continue;
    const BuiltWith built = built_with(backend.probe);
    table_.set("tare_backend_info", {backend.name, built.implementation, built.version}, 1);
  }
}

void Metrics::run_began(const std::string& id, const bench::Suite& suite, const std::vector<bench::PlannedTrial>& plan) {
  const std::scoped_lock lock(mutex_);
  for (const char* name : {"tare_run_info", "tare_run_trials_planned", "tare_run_trials_completed"}) table_.clear(name);
  table_.set("tare_run_active", {}, 1);
  table_.set("tare_run_info", {id, suite.name}, 1);
  table_.set("tare_run_start_time_seconds", {}, static_cast<double>(std::time(nullptr)));
  for (const bench::PlannedTrial& trial : plan) {
    const bench::Experiment& experiment = suite.experiments.at(trial.experiment);
    const std::string workload = trial.empty ? experiment.empty.value_or(experiment.workload) : experiment.workload;
    table_.add("tare_run_trials_planned", {trial.backend, workload}, 1);
    table_.add("tare_run_trials_completed", {trial.backend, workload}, 0);
    for (const char* outcome : {"ok", "failed", "timeout", "discarded"}) {
      table_.add("tare_trials_total", {trial.backend, workload, outcome}, 0);
    }
  }
}

void Metrics::trial_finished(const bench::TrialRecord& trial) {
  const std::string& backend = trial.planned.backend;
  const std::scoped_lock lock(mutex_);
  table_.add("tare_run_trials_completed", {backend, trial.workload}, 1);
  table_.add("tare_trials_total", {backend, trial.workload, outcome_of(trial.state)}, 1);
  if (trial.state.starts_with("invalid:")) table_.add("tare_trials_discarded_total", {backend, trial.workload, trial.state.substr(8)}, 1);
  for (const UsageRow& row : kUsage) {
    const auto value = value_of(trial, row.metric);
    if (!value) continue;
    MetricTable::Labels labels = {trial.workload};
    if (metric_family(row.family).labels.starts_with("backend")) labels.insert(labels.begin(), backend);
    if (!row.label.empty()) labels.emplace_back(row.label);
    // A counter goes on over the trials, where each trial's control group began at 0; a gauge shows the last one.
    if (metric_family(row.family).kind == Family::Kind::counter) {
      table_.add(row.family, std::move(labels), *value);
    } else {
      table_.set(row.family, std::move(labels), *value);
    }
  }
  if (trial.planned.block == 0 || outcome_of(trial.state) != "ok") return;
  static const auto starts = buckets(0.0005, 37, std::sqrt(2.0));
  static const auto phases = buckets(0.0005, 18, 2.0);
  if (const auto ready = value_of(trial, "mark.ready")) {
    histograms_->observe("tare_start_duration_seconds", {backend, trial.workload, trial.variant}, *ready, starts);
  }
  for (const auto& [phase, seconds] : start_phases(trial)) {
    histograms_->observe("tare_start_phase_duration_seconds", {backend, trial.workload, phase}, seconds, phases);
  }
  if (const auto removed = value_of(trial, "stop.removed")) {
    histograms_->observe("tare_stop_duration_seconds", {backend, trial.workload}, *removed, phases);
  }
}

void Metrics::run_ended(const bench::Suite& suite, const std::string& state) {
  const std::scoped_lock lock(mutex_);
  table_.set("tare_run_active", {}, 0);
  table_.clear("tare_run_info");
  table_.add("tare_runs_total", {state == "ok" || state == "failed" ? state : "aborted"}, 1);
  if (state != "ok") return;
  for (const bench::Experiment& experiment : suite.experiments) {
    table_.set("tare_run_last_success_timestamp_seconds", {experiment.workload}, static_cast<double>(std::time(nullptr)));
  }
}

void Metrics::set_result(const bench::Suite&, const bench::RunRecord& run, const bench::Result& result, double computed_at) {
  MetricTable fresh;
  put_result(fresh, run, result, computed_at);
  const std::scoped_lock lock(mutex_);
  for (const Family& family : metric_families()) {
    if (family.name.starts_with("tare_result_") || family.name.starts_with("tare_overhead_")) table_.clear(family.name);
  }
  for (const auto& [name, values] : fresh.families()) {
    for (const auto& [labels, value] : values) table_.set(name, labels, value);
  }
}

void Metrics::request_answered(const std::string& handler, int status, double seconds) {
  static const auto bounds = buckets(0.00005, 36, std::sqrt(2.0));
  const std::scoped_lock lock(mutex_);
  table_.add("tare_agent_http_requests_total", {handler, std::to_string(status)}, 1);
  histograms_->observe("tare_agent_http_request_duration_seconds", {handler}, seconds, bounds);
}

void Metrics::set_event_streams(int count) {
  const std::scoped_lock lock(mutex_);
  table_.set("tare_agent_event_streams", {}, count);
}

MetricTable Metrics::snapshot() const {
  MetricTable copy;
  {
    const std::scoped_lock lock(mutex_);
    copy = table_;
  }
  const auto messages = journal::counts();
  copy.set("tare_agent_log_messages_total", {"warn"}, static_cast<double>(messages[1]));
  copy.set("tare_agent_log_messages_total", {"error"}, static_cast<double>(messages[2]));
  put_process(copy);
  return copy;
}

std::string Metrics::text() const {
  std::vector<prometheus::MetricFamily> families;
  const MetricTable now = snapshot();
  for (const auto& [name, values] : now.families()) families.push_back(exposed(metric_family(name), values));
  {
    const std::scoped_lock lock(mutex_);
    for (auto& family : histograms_->collect()) families.push_back(std::move(family));
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace tare::agent
