// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "agent/backends.h"
#include "agent/wire.h"
#include "core/bridge.h"
#include "core/files.h"
#include "core/nft.h"
#include "core/process.h"
#include "core/units.h"

namespace tare::agent {
namespace {

using Verdict = Check::Verdict;
constexpr std::array<std::string_view, 3> kVerdicts = {"ok", "warn", "fail"};

Check root() {
  if (::geteuid() == 0) return {"root", Verdict::ok, "tare runs as root", ""};
  return {"root", Verdict::fail, "tare does not run as root: it cannot make namespaces, control groups and mounts", "sudo tare doctor"};
}

Check namespaces() {
  std::string missing;
  for (const char* kind : {"mnt", "pid", "ipc", "uts", "net", "cgroup"}) {
    if (::access((std::string("/proc/self/ns/") + kind).c_str(), F_OK) != 0) missing += std::string(missing.empty() ? "" : ", ") + kind;
  }
  if (missing.empty()) return {"namespaces", Verdict::ok, "the kernel has the mount, PID, IPC, UTS, network and cgroup namespaces", ""};
  return {"namespaces", Verdict::fail, "the kernel lacks these namespaces: " + missing, "boot a kernel of a distribution"};
}

Check overlay() {
  const std::string known = try_read_file("/proc/filesystems").value_or("");
  if (known.find("\toverlay\n") != std::string::npos) return {"overlay", Verdict::ok, "the kernel has overlayfs", ""};
  return {"overlay", Verdict::warn, "overlayfs is not loaded: metal and container have no root filesystem without it", "modprobe overlay"};
}

Check tun() {
  if (::access("/dev/net/tun", R_OK | W_OK) == 0) return {"tun", Verdict::ok, "/dev/net/tun opens", ""};
  return {"tun", Verdict::warn, "/dev/net/tun cannot be opened: a VM whose workload has a port gets no network",
          "modprobe tun && mkdir -p /dev/net && mknod /dev/net/tun c 10 200"};
}

Check bridge_check() {
  if (::geteuid() != 0 || !nft::is_available()) {
    return {"bridge", Verdict::warn, "the kernel does not answer as nf_tables: no workload can have `network: bridge`",
            "modprobe nf_tables"};
  }
  const auto standing = bridge::standing();
  const bool forwards = try_read_number("/proc/sys/net/ipv4/ip_forward").value_or(0) != 0;
  std::string sentence = "the kernel has nf_tables, for workloads with `network: bridge`";
  if (standing) {
    sentence += "; " + std::to_string(standing->members) + " on tare0, " + standing->range;
    if (!standing->forwarded) sentence += "; net.ipv4.ip_forward goes back to 0 with the last";
  } else if (!forwards) {
    sentence += "; net.ipv4.ip_forward is 0, and 1 while one runs";
  }
  return {"bridge", Verdict::ok, sentence, ""};
}

Check tool(const char* check, const char* program, const char* purpose, const char* package) {
  if (find_program(program)) return {check, Verdict::ok, std::string(program) + " is installed", ""};
  return {check, Verdict::fail, std::string(program) + " is not installed: " + purpose, std::string("apt-get install ") + package};
}

Check disk(const Paths& paths) {
  std::filesystem::path place = paths.state;
  std::error_code ignored;
  while (!std::filesystem::exists(place, ignored) && place.has_parent_path() && place != place.parent_path()) place = place.parent_path();
  struct statvfs info {};
  if (::statvfs(place.c_str(), &info) != 0) {
    return {"disk", Verdict::warn, "free space of " + paths.state.string() + " is not known", "df " + place.string()};
  }
  const Bytes available{static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize};
  const std::string sentence = text_of(available) + " are free for " + paths.state.string();
  if (available >= 2_GiB) return {"disk", Verdict::ok, sentence, ""};
  return {"disk", Verdict::warn, sentence + ": images, kernels and results may not fit",
          "make room, or set TARE_STATE_DIR to a directory on a larger disk"};
}

Check from_probe(const bench::BackendInfo& backend) {
  const Probe& probe = backend.probe;
  if (!probe.able) return {backend.name, Verdict::fail, backend.name + " cannot run here: " + probe.reason, probe.remedy};
  std::string sentence = backend.name + " can run here";
  if (!probe.implementation.empty()) sentence += " (" + probe.implementation + ")";
  if (probe.emulated) sentence += ", emulated";
  if (!probe.reason.empty()) sentence += ": " + probe.reason;
  return {backend.name, probe.emulated || !probe.reason.empty() ? Verdict::warn : Verdict::ok, sentence, probe.remedy};
}

}  // namespace

bool Examination::fit() const {
  return !backends.empty() && std::all_of(backends.begin(), backends.end(), [](const auto& backend) { return backend.probe.able; });
}

std::vector<Check> host_checks(const Paths& paths, const bench::HostContext& host) {
  std::vector<Check> checks = {root(),
                               namespaces(),
                               overlay(),
                               tun(),
                               bridge_check(),
                               disk(paths),
                               tool("erofs", "mkfs.erofs", "a VM's root filesystem cannot be made", "erofs-utils")};
  for (const bench::Check& check : host.checks) {
    checks.push_back({check.name, check.ok ? Verdict::ok : Verdict::warn, check.sentence, check.remedy});
  }
  return checks;
}

Examination examine(const Paths& paths, const BackendSet& set) {
  Examination out;
  out.host = bench::host_context();
  out.checks = host_checks(paths, out.host);
  if (const ControlGroups* groups = set.control_groups()) {
    out.checks.push_back({"controllers", Verdict::ok, "control groups: " + groups->layout(), ""});
  }
  for (Check& check : set.checks()) out.checks.push_back(std::move(check));
  for (const Backend* backend : set.all()) {
    out.backends.push_back({std::string(backend->name()), backend->probe(), {}});
    out.checks.push_back(from_probe(out.backends.back()));
  }
  return out;
}

boost::json::object to_json(const Examination& examination) {
  boost::json::object out = to_json(examination.host);
  out["backends"] = to_json(examination.backends);
  boost::json::array checks;
  for (const Check& check : examination.checks) {
    boost::json::object one;
    one["name"] = check.name;
    one["verdict"] = kVerdicts.at(static_cast<std::size_t>(check.verdict));
    one["sentence"] = check.sentence;
    one["remedy"] = check.remedy;
    checks.emplace_back(std::move(one));
  }
  out["checks"] = std::move(checks);
  out["fit"] = examination.fit();
  return out;
}

Examination examination_from(const boost::json::value& value) {
  Examination out;
  out.host = host_from(value);
  const auto& object = value.as_object();
  if (const auto* backends = object.if_contains("backends")) out.backends = backends_from(*backends);
  const auto* checks = object.if_contains("checks");
  if (checks == nullptr || !checks->is_array()) return out;
  for (const auto& one : checks->as_array()) {
    const std::string word = text_at(one, "verdict");
    const auto* found = std::find(kVerdicts.begin(), kVerdicts.end(), word);
    const auto index = found == kVerdicts.end() ? 2 : found - kVerdicts.begin();
    out.checks.push_back({text_at(one, "name"), static_cast<Verdict>(index), text_at(one, "sentence"), text_at(one, "remedy")});
  }
  return out;
}

}  // namespace tare::agent
