// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics_catalogue.h"

#include <array>
#include <string>

#include "core/error.h"

namespace tare::agent {
namespace {

using Kind = Family::Kind;

// clang-format off
constexpr std::array kFamilies = {
    Family{"tare_build_info", Kind::gauge, "version,revision,compiler", "Constant 1; build of the agent"},
    Family{"tare_host_info", Kind::gauge, "kernel,arch,cpu_model,virtualization", "Constant 1; hardware and kernel"},
    Family{"tare_backend_info", Kind::gauge, "backend,implementation,version", "Constant 1; e.g. vm / qemu-kvm via libvirt / 9.0.0"},
    Family{"tare_backend_up", Kind::gauge, "backend", "1 when the backend can run here"},
    Family{"tare_check_ok", Kind::gauge, "check", "Doctor checks (kvm, cgroup_v2, governor, swap_off, ...)"},
    Family{"tare_host_cpu_cores", Kind::gauge, "", "Online logical CPUs"},
    Family{"tare_host_memory_bytes", Kind::gauge, "", "Memory installed"},
    Family{"tare_run_active", Kind::gauge, "", "1 while a run is active"},
    Family{"tare_run_info", Kind::gauge, "run_id,profile", "The active run; removed at its end. The one series with run_id"},
    Family{"tare_run_start_time_seconds", Kind::gauge, "", "Start of the active or last run (drives annotations)"},
    Family{"tare_run_trials_planned", Kind::gauge, "backend,workload", "Trials planned in the active run"},
    Family{"tare_run_trials_completed", Kind::gauge, "backend,workload", "Trials finished in it"},
    Family{"tare_runs_total", Kind::counter, "outcome", "Runs by ok, failed, aborted"},
    Family{"tare_trials_total", Kind::counter, "backend,workload,outcome", "Trials by ok, failed, timeout, discarded"},
    Family{"tare_trials_discarded_total", Kind::counter, "backend,workload,reason", "Discards by steal, pressure, thermal, drift"},
    Family{"tare_run_last_success_timestamp_seconds", Kind::gauge, "workload", "End of the last good run"},
    Family{"tare_start_duration_seconds", Kind::histogram, "backend,workload,cache", "Request to ready; cache = cold or warm"},
    Family{"tare_start_phase_duration_seconds", Kind::histogram, "backend,workload,phase", "Disjoint phases that add up to the start"},
    Family{"tare_stop_duration_seconds", Kind::histogram, "backend,workload", "Stop request to gone"},
    Family{"tare_result_start_seconds", Kind::gauge, "backend,workload,cache,stat", "Exact p50, p95, p99, mean, min, max of the last run"},
    Family{"tare_result_phase_seconds", Kind::gauge, "backend,workload,phase,stat", "Exact p50 and p95 per phase"},
    Family{"tare_overhead_ratio", Kind::gauge, "backend,workload,measure", "measure(backend)/measure(metal); above 1 is always worse"},
    Family{"tare_overhead_ci_lower_ratio", Kind::gauge, "backend,workload,measure", "Lower 95 % confidence bound"},
    Family{"tare_overhead_ci_upper_ratio", Kind::gauge, "backend,workload,measure", "Upper 95 % confidence bound"},
    Family{"tare_result_trials", Kind::gauge, "backend,workload", "Valid trials behind the result"},
    Family{"tare_result_variation_ratio", Kind::gauge, "backend,workload,measure", "Relative spread (MAD/median)"},
    Family{"tare_result_timestamp_seconds", Kind::gauge, "workload", "Unix time at which the results were computed"},
    Family{"tare_cpu_usage_seconds_total", Kind::counter, "backend,workload,mode", "cgroup CPU, user and system; VMM threads included"},
    Family{"tare_memory_peak_bytes", Kind::gauge, "backend,workload", "Peak memory of the last trial"},
    Family{"tare_memory_pss_bytes", Kind::gauge, "backend,workload", "Proportional set size in the last trial; shows sharing"},
    Family{"tare_memory_oom_kills_total", Kind::counter, "backend,workload", "OOM kills in the cgroup"},
    Family{"tare_io_read_bytes_total", Kind::counter, "backend,workload", "Bytes the workload read from disks"},
    Family{"tare_io_write_bytes_total", Kind::counter, "backend,workload", "Bytes the workload wrote to disks"},
    Family{"tare_io_reads_total", Kind::counter, "backend,workload", "Read operations on disks"},
    Family{"tare_io_writes_total", Kind::counter, "backend,workload", "Write operations on disks"},
    Family{"tare_network_receive_bytes_total", Kind::counter, "backend,workload", "Bytes received, seen from the workload's side"},
    Family{"tare_network_transmit_bytes_total", Kind::counter, "backend,workload", "Bytes sent, seen from the workload's side"},
    Family{"tare_context_switches_total", Kind::counter, "backend,workload,kind", "Context switches of the workload, voluntary and involuntary"},
    Family{"tare_processes", Kind::gauge, "backend,workload", "Tasks of the workload in the last trial"},
    Family{"tare_vm_cpu_seconds_total", Kind::counter, "workload,component", "CPU of QEMU's threads: vcpu, emulator, iothread, vhost"},
    Family{"tare_vm_vcpu_delay_seconds_total", Kind::counter, "workload", "Virtual CPUs ready to run, waiting for a CPU of the host"},
    Family{"tare_vm_exits_total", Kind::counter, "workload,reason", "Why the processor left the guest, by KVM's counters"},
    Family{"tare_vm_guest_memory_bytes", Kind::gauge, "workload,state", "What the guest says of its memory: used, total"},
    Family{"tare_agent_http_requests_total", Kind::counter, "handler,code", "Requests the API answered, by handler and status"},
    Family{"tare_agent_http_request_duration_seconds", Kind::histogram, "handler", "Time the API took to answer"},
    Family{"tare_agent_event_streams", Kind::gauge, "", "Open SSE clients"},
    Family{"tare_agent_log_messages_total", Kind::counter, "level", "warn and error only"},
    Family{"process_cpu_seconds_total", Kind::counter, "", "The agent's own CPU time"},
    Family{"process_resident_memory_bytes", Kind::gauge, "", "The agent's resident memory"},
    Family{"process_virtual_memory_bytes", Kind::gauge, "", "The agent's virtual memory"},
    Family{"process_open_fds", Kind::gauge, "", "Descriptors the agent has open"},
    Family{"process_max_fds", Kind::gauge, "", "Descriptors the agent may open"},
    Family{"process_start_time_seconds", Kind::gauge, "", "Unix time at which the agent started"},
};
// clang-format on

}  // namespace

std::span<const Family> metric_families() { return kFamilies; }

const Family& metric_family(std::string_view name) {
  for (const Family& family : kFamilies) {
    if (family.name == name) return family;
  }
  throw Error(Code::internal, "metric " + std::string(name) + " is not in the catalogue");
}

}  // namespace tare::agent
