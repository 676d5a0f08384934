// SPDX-License-Identifier: Apache-2.0
#include "bench/host_checks.h"

#include <cstdlib>
#include <optional>

#include "core/units.h"

namespace tare::bench {
namespace {

using Facts = std::map<std::string, std::string>;

constexpr double kStealShare = 0.5;             // per cent since boot
constexpr double kLoadPerCpu = 0.5;             // runnable tasks a CPU over the last minute
constexpr double kSwapUsed = 64.0 * 1048576;    // less is what a long-lived desktop forgets there
constexpr double kMemoryNeeded = 1073741824.0;  // of the default suite: two instances and their page cache

std::optional<std::string> word(const Facts& facts, const std::string& key) {
  const auto found = facts.find(key);
  return found == facts.end() ? std::nullopt : std::optional(found->second);
}
std::optional<double> number(const Facts& facts, const std::string& key) {
  const auto text = word(facts, key);
  return text ? std::optional(std::strtod(text->c_str(), nullptr)) : std::nullopt;
}

Check good(std::string name, std::string sentence) { return {std::move(name), true, std::move(sentence), ""}; }
Check bad(std::string name, std::string sentence, std::string remedy) {
  return {std::move(name), false, std::move(sentence), std::move(remedy)};
}

using Question = std::optional<Check> (*)(const Facts&);

std::optional<Check> governor(const Facts& facts) {
  const auto now = word(facts, "cpu.governor");
  if (!now) return std::nullopt;
  if (*now == "performance") return good("governor", "the CPU's frequency governor is 'performance'");
  return bad("governor", "the CPU's frequency governor is '" + *now + "', so speed follows load", "cpupower frequency-set -g performance");
}

std::optional<Check> turbo(const Facts& facts) {
  const auto now = word(facts, "cpu.turbo");
  if (!now) return std::nullopt;
  if (*now == "off") return good("turbo", "turbo is off, so speed does not depend on heat");
  const bool intel = facts.contains("cpu.turbo_driver") && facts.at("cpu.turbo_driver") == "intel_pstate";
  return bad("turbo", "turbo is on, so speed depends on heat and on how many CPUs are busy",
             intel ? "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo" : "echo 0 > /sys/devices/system/cpu/cpufreq/boost");
}

std::optional<Check> smt(const Facts& facts) {
  const auto now = word(facts, "cpu.smt");
  if (!now) return std::nullopt;
  if (*now != "on") return good("smt", "no two of the CPUs share a core (SMT " + *now + ")");
  return bad("smt", "SMT is on, so two CPUs share a core and slow one another", "echo off > /sys/devices/system/cpu/smt/control");
}

std::optional<Check> nested(const Facts& facts) {
  const auto now = word(facts, "virtualization");
  if (!now) return std::nullopt;
  if (*now == "none") return good("nested", "the host is no virtual machine");
  return bad("nested", "this host is a virtual machine itself, so a VM here is nested and 'metal' is a guest's",
             "measure on a machine of your own for numbers to publish");
}

std::optional<Check> steal(const Facts& facts) {
  const auto share = number(facts, "cpu.steal_percent");
  if (!share) return std::nullopt;
  if (*share <= kStealShare)
    return good("steal", "a hypervisor below took " + facts.at("cpu.steal_percent") + " % of the CPU time since boot");
  return bad("steal", "a hypervisor below took " + facts.at("cpu.steal_percent") + " % of the CPU time since boot",
             "ask for dedicated CPUs, or measure elsewhere");
}

std::optional<Check> load(const Facts& facts) {
  const auto now = number(facts, "load.1m");
  const auto cpus = number(facts, "cpu.count");
  if (!now || !cpus || *cpus < 1) return std::nullopt;
  if (*now <= kLoadPerCpu * *cpus)
    return good("load", "the load of the last minute is " + facts.at("load.1m") + " on " + facts.at("cpu.count") + " CPUs");
  return bad("load", "the load of the last minute is " + facts.at("load.1m") + " on " + facts.at("cpu.count") + " CPUs, so others use them",
             "stop what runs beside (see top)");
}

std::optional<Check> swap(const Facts& facts) {
  const auto used = number(facts, "swap.used_bytes");
  if (!used) return std::nullopt;
  if (*used <= kSwapUsed) return good("swap", "nothing to speak of is swapped out");
  return bad("swap", text_of(Bytes{static_cast<std::uint64_t>(*used)}) + " are swapped out, so a start may wait for a disk",
             "swapoff -a && swapon -a");
}

std::optional<Check> memory(const Facts& facts) {
  const auto available = number(facts, "memory.available_bytes");
  if (!available) return std::nullopt;
  const std::string text = text_of(Bytes{static_cast<std::uint64_t>(*available)});
  if (*available >= kMemoryNeeded) return good("memory", text + " of memory are available");
  return bad("memory", "only " + text + " of memory are available, so the host will reclaim while it measures",
             "stop what uses it, or lower limits.memory in the suite");
}

std::optional<Check> thp(const Facts& facts) {
  const auto now = word(facts, "memory.thp");
  if (!now) return std::nullopt;
  if (*now != "always") return good("thp", "transparent huge pages are '" + *now + "'");
  return bad("thp", "transparent huge pages are 'always', so memory speed depends on fragmentation",
             "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
}

std::optional<Check> ksm(const Facts& facts) {
  const auto now = word(facts, "memory.ksm");
  if (!now) return std::nullopt;
  if (*now == "0") return good("ksm", "the kernel does not merge equal pages (KSM)");
  return bad("ksm", "the kernel merges equal pages (KSM), so the memory of one VM depends on the others",
             "echo 0 > /sys/kernel/mm/ksm/run");
}

std::optional<Check> clocksource(const Facts& facts) {
  const auto now = word(facts, "clock.source");
  if (!now) return std::nullopt;
  if (*now == "tsc" || *now == "kvm-clock" || *now == "arch_sys_counter")
    return good("clocksource", "the clock is '" + *now + "', read without a system call");
  return bad("clocksource", "the clock is '" + *now + "', so reading the time costs a system call or more",
             "boot with clocksource=tsc tsc=reliable, if the CPU's TSC is stable");
}

std::optional<Check> cgroup(const Facts& facts) {
  const auto now = word(facts, "cgroup.layout");
  if (!now) return std::nullopt;
  if (*now != "none") return good("cgroup", "control groups are mounted (" + *now + ")");
  return bad("cgroup", "no control groups are mounted, so nothing can be limited or counted", "mount -t cgroup2 none /sys/fs/cgroup");
}

std::optional<Check> mitigations(const Facts& facts) {
  const auto vulnerable = word(facts, "cpu.vulnerable");
  if (!vulnerable) return std::nullopt;
  if (vulnerable->empty()) return good("mitigations", "the kernel mitigates every CPU vulnerability it knows of, or the CPU has none");
  return bad("mitigations",
             "the kernel leaves CPU vulnerabilities open (" + *vulnerable + "), so system calls are cheaper than on a hardened host",
             "boot without mitigations=off, or state it beside the numbers");
}

constexpr Question kQuestions[] = {nested, governor, turbo, smt, steal, load, memory, swap, thp, ksm, clocksource, cgroup, mitigations};

}  // namespace

std::vector<Check> host_checks(const std::map<std::string, std::string>& facts) {
  std::vector<Check> checks;
  for (const Question question : kQuestions) {
    if (auto check = question(facts)) checks.push_back(std::move(*check));
  }
  return checks;
}

}  // namespace tare::bench
