// SPDX-License-Identifier: Apache-2.0
#include "bench/host.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>

#include "bench/host_checks.h"
#include "core/files.h"

namespace tare::bench {
namespace {

namespace fs = std::filesystem;
using Facts = std::map<std::string, std::string>;

std::string trimmed(std::string text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0'; };
  while (!text.empty() && blank(text.back())) text.pop_back();
  const auto first = std::find_if_not(text.begin(), text.end(), blank);
  return {first, text.end()};
}

std::optional<std::string> line_of(const fs::path& path) {
  const auto text = try_read_file(path);
  if (!text) return std::nullopt;
  std::string line = trimmed(text->substr(0, text->find('\n')));
  return line.empty() ? std::nullopt : std::optional(std::move(line));
}

void put(Facts& facts, const std::string& key, const std::optional<std::string>& value) {
  if (value) facts[key] = *value;
}

// "always [madvise] never": the word in brackets.
std::optional<std::string> chosen(const std::optional<std::string>& line) {
  if (!line) return std::nullopt;
  const std::size_t open = line->find('[');
  const std::size_t close = line->find(']', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  return line->substr(open + 1, close - open - 1);
}

// FNV-1a of 64 bits: flags are compared, not trusted, so a short name for a long list is enough.
std::string short_hash(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  std::array<char, 20> out{};
  std::snprintf(out.data(), out.size(), "%016llx", static_cast<unsigned long long>(hash));
  return out.data();
}

// The first processor's entries of /proc/cpuinfo.
std::map<std::string, std::string> first_processor(const std::string& text) {
  std::map<std::string, std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line) && !trimmed(line).empty();) {
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos) out[trimmed(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
  }
  return out;
}

bool has_flag(const std::string& flags, const std::string& wanted) {
  std::istringstream words(flags);
  for (std::string flag; words >> flag;) {
    if (flag == wanted) return true;
  }
  return false;
}

void read_cpu(const fs::path& root, Facts& facts) {
  const auto cpuinfo = try_read_file(root / "proc/cpuinfo");
  if (!cpuinfo) return;
  const auto cpu = first_processor(*cpuinfo);
  const auto entry = [&](const std::string& key, const char* from) {
    if (const auto found = cpu.find(from); found != cpu.end()) facts[key] = found->second;
  };
  entry("cpu.vendor", "vendor_id");
  entry("cpu.model", "model name");
  entry("cpu.family", "cpu family");
  entry("cpu.model_number", "model");
  entry("cpu.stepping", "stepping");
  entry("cpu.microcode", "microcode");
  const auto flags = cpu.contains("flags") ? cpu.at("flags") : cpu.contains("Features") ? cpu.at("Features") : std::string();
  if (!flags.empty()) {
    facts["cpu.flags_hash"] = short_hash(flags);
    // CPUID leaf 1, ECX bit 31: set by every hypervisor that wants to be seen. No other file tells it without DMI.
    facts["virtualization"] = has_flag(flags, "hypervisor") ? "guest" : "none";
    facts["cpu.hardware_virtualization"] = has_flag(flags, "vmx") ? "vmx" : has_flag(flags, "svm") ? "svm" : "none";
  }
  std::size_t count = 0;
  std::istringstream lines(*cpuinfo);
  for (std::string line; std::getline(lines, line);) count += line.compare(0, 9, "processor") == 0 ? 1U : 0U;
  if (count > 0) facts["cpu.count"] = std::to_string(count);
}

void read_frequency(const fs::path& root, Facts& facts) {
  const fs::path cpu = root / "sys/devices/system/cpu";
  put(facts, "cpu.governor", line_of(cpu / "cpu0/cpufreq/scaling_governor"));
  put(facts, "cpu.frequency_driver", line_of(cpu / "cpu0/cpufreq/scaling_driver"));
  put(facts, "cpu.energy_preference", line_of(cpu / "cpu0/cpufreq/energy_performance_preference"));
  put(facts, "cpu.frequency_min_khz", line_of(cpu / "cpu0/cpufreq/scaling_min_freq"));
  put(facts, "cpu.frequency_max_khz", line_of(cpu / "cpu0/cpufreq/scaling_max_freq"));
  if (const auto no_turbo = try_read_number(cpu / "intel_pstate/no_turbo")) {
    facts["cpu.turbo"] = *no_turbo == 0 ? "on" : "off";
    facts["cpu.turbo_driver"] = "intel_pstate";
  } else if (const auto boost = try_read_number(cpu / "cpufreq/boost")) {
    facts["cpu.turbo"] = *boost == 0 ? "off" : "on";
    facts["cpu.turbo_driver"] = "cpufreq";
  }
  if (const auto smt = line_of(cpu / "smt/control"))
    facts["cpu.smt"] = *smt == "notsupported" || *smt == "notimplemented" ? "not there" : *smt;
  put(facts, "cpu.isolated", line_of(cpu / "isolated"));
  put(facts, "cpu.idle_driver", line_of(cpu / "cpuidle/current_driver"));
}

void read_vulnerabilities(const fs::path& root, Facts& facts) {
  std::error_code error;
  std::set<fs::path> files;  // in one order on every host
  for (const auto& entry : fs::directory_iterator(root / "sys/devices/system/cpu/vulnerabilities", error)) files.insert(entry.path());
  if (files.empty()) return;
  std::string open;
  for (const fs::path& file : files) {
    const auto state = line_of(file);
    if (!state) continue;
    facts["cpu.vulnerability." + file.filename().string()] = *state;
    if (state->compare(0, 10, "Vulnerable") == 0) open += (open.empty() ? "" : ", ") + file.filename().string();
  }
  facts["cpu.vulnerable"] = open;
}

void read_kernel(const fs::path& root, Facts& facts) {
  put(facts, "kernel.release", line_of(root / "proc/sys/kernel/osrelease"));
  put(facts, "kernel.version", line_of(root / "proc/sys/kernel/version"));
  put(facts, "kernel.cmdline", line_of(root / "proc/cmdline"));
  put(facts, "kernel.lsm", line_of(root / "sys/kernel/security/lsm"));
  put(facts, "clock.source", line_of(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"));
  put(facts, "memory.thp", chosen(line_of(root / "sys/kernel/mm/transparent_hugepage/enabled")));
  put(facts, "memory.thp_defrag", chosen(line_of(root / "sys/kernel/mm/transparent_hugepage/defrag")));
  put(facts, "memory.ksm", line_of(root / "sys/kernel/mm/ksm/run"));
  put(facts, "memory.swappiness", line_of(root / "proc/sys/vm/swappiness"));
  put(facts, "memory.overcommit", line_of(root / "proc/sys/vm/overcommit_memory"));
  for (const char* parameter : {"nested", "ept", "npt", "halt_poll_ns", "nx_huge_pages", "avic", "enable_apicv"}) {
    for (const char* module : {"kvm", "kvm_intel", "kvm_amd"}) {
      put(facts, std::string(module) + "." + parameter, line_of(root / "sys/module" / module / "parameters" / parameter));
    }
  }
}

void read_memory(const fs::path& root, Facts& facts) {
  const auto text = try_read_file(root / "proc/meminfo");
  if (!text) return;
  const auto bytes = [&](const char* key) -> std::optional<std::uint64_t> {
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      if (line.compare(0, std::char_traits<char>::length(key), key) != 0) continue;
      return std::strtoull(line.c_str() + std::char_traits<char>::length(key), nullptr, 10) * 1024;  // "kB" of /proc/meminfo is KiB
    }
    return std::nullopt;
  };
  if (const auto total = bytes("MemTotal:")) facts["memory.bytes"] = std::to_string(*total);
  if (const auto available = bytes("MemAvailable:")) facts["memory.available_bytes"] = std::to_string(*available);
  const auto swap_total = bytes("SwapTotal:");
  const auto swap_free = bytes("SwapFree:");
  if (swap_total) facts["swap.bytes"] = std::to_string(*swap_total);
  if (swap_total && swap_free) facts["swap.used_bytes"] = std::to_string(*swap_total - std::min(*swap_free, *swap_total));
}

void read_load(const fs::path& root, Facts& facts) {
  if (const auto load = line_of(root / "proc/loadavg")) facts["load.1m"] = load->substr(0, load->find(' '));
  const auto stat = line_of(root / "proc/stat");
  if (!stat || stat->compare(0, 4, "cpu ") != 0) return;
  std::istringstream numbers(stat->substr(4));
  std::array<double, 8> ticks{};
  double total = 0;
  for (double& tick : ticks) {
    if (!(numbers >> tick)) return;
    total += tick;
  }
  if (total <= 0) return;
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%.2f", 100 * ticks[7] / total);
  facts["cpu.steal_percent"] = out.data();
}

// Layout of the control groups, and the file system of the root, both from the mount table.
void read_mounts(const fs::path& root, Facts& facts) {
  auto mounts = try_read_file(root / "proc/self/mounts");
  if (!mounts) return;
  std::istringstream lines(*mounts);
  bool v1 = false;
  bool v2 = false;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string device;
    std::string point;
    std::string type;
    std::string options;
    if (!(fields >> device >> point >> type >> options)) continue;
    v1 = v1 || type == "cgroup";
    v2 = v2 || type == "cgroup2";
    if (point != "/") continue;
    facts["root.filesystem"] = type;  // the last one mounted there is the one seen
    facts["root.options"] = options;
  }
  facts["cgroup.layout"] = v1 && v2 ? "hybrid" : v1 ? "v1" : v2 ? "v2" : "none";
  put(facts, "cgroup.controllers", line_of(root / "sys/fs/cgroup/cgroup.controllers"));
}

void read_machine(const fs::path& root, Facts& facts) {
  put(facts, "machine.vendor", line_of(root / "sys/class/dmi/id/sys_vendor"));
  put(facts, "machine.product", line_of(root / "sys/class/dmi/id/product_name"));
  put(facts, "machine.bios", line_of(root / "sys/class/dmi/id/bios_version"));
  put(facts, "hypervisor.type", line_of(root / "sys/hypervisor/type"));
  const auto release = try_read_file(root / "etc/os-release");
  if (!release) return;
  std::istringstream lines(*release);
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, 12, "PRETTY_NAME=") != 0) continue;
    std::string name = trimmed(line.substr(12));
    if (name.size() > 1 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
    facts["os"] = name;
  }
}

// Facts that change from minute to minute are no part of what a host is.
bool passing(const std::string& key) {
  return key == "load.1m" || key == "cpu.steal_percent" || key == "memory.available_bytes" || key == "swap.used_bytes";
}

std::string fingerprint(const Facts& facts) {
  std::string all;
  for (const auto& [key, value] : facts) {
    if (!passing(key)) all += key + "=" + value + "\n";
  }
  return short_hash(all);
}

}  // namespace

HostContext host_context(const fs::path& root) {
  HostContext host;
  read_cpu(root, host.facts);
  read_frequency(root, host.facts);
  read_vulnerabilities(root, host.facts);
  read_kernel(root, host.facts);
  read_memory(root, host.facts);
  read_load(root, host.facts);
  read_mounts(root, host.facts);
  read_machine(root, host.facts);
  if (!host.facts.empty()) host.facts["fingerprint"] = fingerprint(host.facts);
  host.checks = host_checks(host.facts);
  for (const Check& check : host.checks) {
    if (!check.ok) host.warnings.push_back(check.sentence + (check.remedy.empty() ? "" : ": " + check.remedy));
  }
  return host;
}

}  // namespace tare::bench
