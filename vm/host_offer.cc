// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <set>

#include "core/error.h"
#include "core/fd.h"
#include "core/files.h"
#include "vm/profile.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

std::set<unsigned> index_list(const fs::path& file) {
  std::string text = try_read_file(file).value_or("");
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.empty() ? std::set<unsigned>() : parse_index_list(text);
}

std::map<unsigned, unsigned> nodes_of_cpus(const fs::path& root) {
  std::map<unsigned, unsigned> nodes;
  for (const unsigned node : index_list(root / "sys/devices/system/node/online")) {
    const fs::path list = root / "sys/devices/system/node" / ("node" + std::to_string(node)) / "cpulist";
    for (const unsigned cpu : index_list(list)) nodes[cpu] = node;
  }
  return nodes;
}

// "Cpus_allowed_list" of /proc/self/status: what the agent may run on, so may what it starts.
std::set<unsigned> own_cpus(const fs::path& root) {
  const std::string status = try_read_file(root / "proc/self/status").value_or("");
  constexpr std::string_view kKey = "\nCpus_allowed_list:\t";
  const std::size_t at = status.find(kKey);
  if (at == std::string::npos) return index_list(root / "sys/devices/system/cpu/online");
  const std::size_t from = at + kKey.size();
  return parse_index_list(status.substr(from, status.find('\n', from) - from));
}

std::vector<HostOffer::Cpu> cpus_of(const fs::path& root) {
  const std::map<unsigned, unsigned> nodes = nodes_of_cpus(root);
  std::vector<HostOffer::Cpu> cpus;
  for (const unsigned cpu : own_cpus(root)) cpus.push_back({cpu, nodes.contains(cpu) ? nodes.at(cpu) : 0});
  return cpus;
}

// libvirt takes pages of the kernel's default size, from the hugetlbfs that is mounted.
void look_for_hugepages(const fs::path& root, HostOffer& offer) {
  if (try_read_file(root / "proc/self/mounts").value_or("").find(" hugetlbfs ") == std::string::npos) return;
  const auto size = keyed_number(try_read_file(root / "proc/meminfo").value_or(""), "Hugepagesize");
  if (!size) return;
  offer.hugepage_size = Bytes{*size << 10};
  const fs::path free = root / "sys/kernel/mm/hugepages" / ("hugepages-" + std::to_string(*size) + "kB") / "free_hugepages";
  offer.hugepages_free = Bytes{try_read_number(free).value_or(0) * offer.hugepage_size.count};
}

std::string io_uring_fault() {
  io_uring_params parameters{};
  const Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));
  return ring ? "" : errno_text("io_uring_setup");
}

std::string direct_io_fault(const fs::path& directory) {
  const Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600));
  return file ? "" : errno_text("open a file in " + directory.string() + " with O_DIRECT");
}

}  // namespace

HostOffer host_offer(const fs::path& disks, const fs::path& root) {
  HostOffer offer;
  offer.cpus = cpus_of(root);
  look_for_hugepages(root, offer);
  offer.no_io_uring = io_uring_fault();
  offer.no_direct_io = direct_io_fault(disks);
  const fs::path slim = root / "usr/bin/qemu-system-x86_64-microvm";
  if (fs::exists(slim)) offer.slim_emulator = slim;
  return offer;
}

}  // namespace tare::vm
