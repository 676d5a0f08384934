// SPDX-License-Identifier: Apache-2.0
#include "vm/parity.h"

#include <sys/utsname.h>

#include <algorithm>
#include <iterator>

#include "core/files.h"

namespace tare::vm {
namespace {

constexpr std::size_t kNamedFlags = 8;                   // of those that differ; more are counted
constexpr Bytes kSameMemory = 4_MiB;                     // RAM is a whole number of MiB, and the kernel's own share is known up to so much
constexpr std::string_view kOfGuest[] = {"hypervisor"};  // a flag that says nothing else than that it is a guest

Trait same(std::string name, std::string text) { return {std::move(name), std::move(text) + ", as on the host"}; }
Trait other(std::string name, const std::string& guest, const std::string& host, std::string remedy = {}) {
  return {std::move(name), guest + " in the guest, " + host + " on the host", true, std::move(remedy)};
}

std::string named(const std::vector<std::string>& flags) {
  std::string text;
  for (std::size_t i = 0; i < std::min(flags.size(), kNamedFlags); ++i) text += (i == 0 ? "" : " ") + flags[i];
  return text + (flags.size() > kNamedFlags ? " …" : "");
}

Trait of_flags(const std::set<std::string>& host, const std::set<std::string>& guest) {
  std::vector<std::string> lacking, added;
  std::set_difference(host.begin(), host.end(), guest.begin(), guest.end(), std::back_inserter(lacking));
  std::set_difference(guest.begin(), guest.end(), host.begin(), host.end(), std::back_inserter(added));
  for (const std::string_view flag : kOfGuest) std::erase(added, flag);
  if (lacking.empty() && added.empty()) return same("parity flags", std::to_string(host.size()));
  std::string text;
  if (!lacking.empty())
    text = "the guest lacks " + std::to_string(lacking.size()) + " of the host's " + std::to_string(host.size()) + ": " + named(lacking);
  if (!added.empty())
    text += (text.empty() ? "the guest has " : "; it has ") + std::to_string(added.size()) + " that the host lacks: " + named(added);
  return {"parity flags", text, true};
}

}  // namespace

Facts host_facts(const VmPlan& plan, const Limits& limits, const HostOffer& offer, const std::filesystem::path& root) {
  Facts facts;
  utsname name{};
  ::uname(&name);
  facts.release = name.release;
  facts.cpus = limits.cpus ? vcpus_for(limits) : plan.vcpus;
  facts.nodes = static_cast<unsigned>(nodes_for(limits, offer).size());
  facts.memory = memory_for(limits);
  if (!limits.memory) {
    facts.memory = Bytes{keyed_number(try_read_file(root / "proc/meminfo").value_or(""), "MemTotal").value_or(0) << 10};
  }
  facts.flags = flags_of(try_read_file(root / "proc/cpuinfo").value_or(""));
  return facts;
}

std::set<std::string> flags_of(std::string_view cpuinfo) {
  std::set<std::string> flags;
  std::size_t at = cpuinfo.find("flags\t");
  at = at == std::string_view::npos ? at : cpuinfo.find(": ", at);
  if (at == std::string_view::npos) return flags;
  std::string_view line = cpuinfo.substr(at + 2);
  line = line.substr(0, line.find('\n'));
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    if (end > 0) flags.emplace(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return flags;
}

std::vector<Trait> parity(const Facts& host, const Facts& guest) {
  std::vector<Trait> rows;
  rows.push_back(host.release == guest.release ? same("parity kernel", guest.release)
                                               : other("parity kernel", guest.release, host.release,
                                                       "a host with a Debian kernel in /boot, packed with LZ4, lends it to its guests"));
  rows.push_back(host.cpus == guest.cpus ? same("parity cpus", std::to_string(guest.cpus))
                                         : other("parity cpus", std::to_string(guest.cpus), std::to_string(host.cpus)));
  const bool near = guest.memory >= host.memory && guest.memory.count - host.memory.count <= kSameMemory.count;
  rows.push_back(near ? same("parity memory", text_of(guest.memory))
                      : other("parity memory", text_of(guest.memory) + " usable", text_of(host.memory), "set limits.memory"));
  rows.push_back(host.nodes == guest.nodes ? same("parity nodes", std::to_string(guest.nodes))
                                           : other("parity nodes", std::to_string(guest.nodes), std::to_string(host.nodes),
                                                   "set limits.cpuset to CPUs of one node"));
  rows.push_back(of_flags(host.flags, guest.flags));
  return rows;
}

}  // namespace tare::vm
