// SPDX-License-Identifier: Apache-2.0
// What a virtual machine is to look like, as plain values; and the two texts that follow from it: the kernel's command line and the
// libvirt domain. Pure: nothing here touches the host.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/units.h"
#include "core/workload.h"

namespace tare::vm {

enum class Accelerator { kvm, tcg };
enum class Machine { microvm, q35 };
std::string_view name(Accelerator accelerator) noexcept;  // "kvm", "tcg"
std::string_view name(Machine machine) noexcept;          // "microvm", "q35"

/// What holds a QEMU that a guest has broken into. hardened: its own filter of system calls, and vm/jail.h. fast: nothing, it is root.
enum class Confinement { hardened, fast };

/// `cache` is libvirt's word for what stands between it and the host's disk.
///                  host's page cache   a write is done when             the guest's flush
///   writeback      yes                 it is in there                   reaches the disk
///   writethrough   yes                 it is on the disk                has nothing to do
///   none           no                  the disk has taken it            reaches the disk
///   directsync     no                  it is on the disk                has nothing to do
///   unsafe         yes                 it is in there                   does nothing
struct Disk {
  std::filesystem::path file;  // raw
  bool read_only = false;
  std::string cache = "writeback";
  std::string io = {};    // "io_uring"; empty: QEMU's pool of threads
  unsigned iothread = 0;  // which of VmPlan::iothreads serves it, from 1; 0: QEMU's main thread
};

struct Interface {
  std::string tap;  // exists and is up
  std::string mac;  // of the guest's end
};

/// A file that holds the guest's memory.
struct MemoryFile {
  std::filesystem::path file;
  /// false: the guest writes to the file, which is made. true: it begins with the file's content, keeps what it writes to itself, and its
  /// machine waits for the state that belongs to it.
  bool clone = false;
};

/// What became of one wish of a profile (vm/profile.h).
struct Trait {
  std::string name;      // "profile hugepages"
  std::string text;      // what the guest has instead, or that it has it
  bool missing = false;  // the host cannot give it
  std::string remedy = {};
  bool operator==(const Trait&) const = default;
};

/// What a program sees of the machine that it runs on.
struct Facts {
  std::string release;  // of the kernel
  unsigned cpus = 0;
  unsigned nodes = 0;  // NUMA
  Bytes memory;        // usable: MemTotal, or a workload's limit
  std::set<std::string> flags;
};
/// The flags of the first CPU in the text of /proc/cpuinfo.
std::set<std::string> flags_of(std::string_view cpuinfo);

struct VmPlan {
  std::string name;  // the instance's id, which is the domain's name too
  Accelerator accelerator = Accelerator::tcg;
  Machine machine = Machine::microvm;
  std::filesystem::path emulator = "/usr/bin/qemu-system-x86_64";
  std::vector<std::pair<std::string, std::string>> environment;  // of the emulator
  unsigned vcpus = 1;
  Bytes memory = 256_MiB;
  std::filesystem::path kernel;
  std::filesystem::path initramfs;
  std::uint64_t tsc_khz = 0;      // of the host; 0: let the guest calibrate
  Disk image;                     // vda: EROFS of the workload's image
  Disk scratch;                   // vdb: the upper layer
  std::filesystem::path channel;  // unix socket on which QEMU listens
  std::filesystem::path console;  // file that takes what the guest's kernel prints
  std::optional<Interface> interface;
  std::optional<MemoryFile> memory_file;      // absent: memory of QEMU's own
  std::filesystem::path device = "/dev/kvm";  // with Accelerator::kvm
  std::optional<std::uint32_t>
      user;                     // id on the host, of this QEMU alone, which is confined (vm/jail.h); absent: root, with all of the host
  std::filesystem::path stage;  // with a user: an empty directory
  std::vector<std::filesystem::path> shares;  // sockets on which a virtiofsd listens; the guest knows them as "tare0", "tare1", …

  // What profiles add.
  VmProfile profile = VmProfile::standard;
  bool serial = true;                       // the port to the console file
  bool every_cpu_flag = false;              // all that the emulation has, instead of QEMU's least; with KVM it is the host's CPU anyway
  std::string cpus;                         // of the host, for all threads of QEMU; empty: all
  std::vector<std::string> vcpu_pins;       // of the host, for each virtual CPU; empty: as above
  std::string helper_cpus;                  // of the host, for QEMU's other threads, where there are pins
  std::optional<unsigned> memory_node;      // NUMA node of the guest's memory
  bool hugepages = false;                   // behind the guest's memory
  unsigned iothreads = 0;                   // threads for disks
  std::optional<Bytes> translation_buffer;  // where emulation keeps the code it made; absent: up to 1 GiB
  std::vector<Trait> traits;                // for people
  std::optional<Facts> host;                // which its guest is compared with
};

/// The guest's memory when a workload sets no limit, and the least that boots.
constexpr Bytes kDefaultMemory = 256_MiB;
constexpr Bytes kLeastMemory = 96_MiB;  // measured: the stock 6.1 cloud kernel panics at 72 MiB and boots at 80

/// Virtual CPUs that give `limits.cpus` of CPU time: rounded up, 1 when unlimited.
unsigned vcpus_for(const Limits& limits);
/// Memory of the guest, a whole number of MiB. Throws Error(invalid) that names the least when the limit is below it.
Bytes memory_for(const Limits& limits);
/// Which of `limits` hold for QEMU's control group from the start. Throws Error(unsuited) for one that a guest does not have; `who` is
/// "vm 'serve'".
Limits host_limits(const Limits& limits, const std::string& who);
/// What a change of a running guest's limits is to its control group: CPUs become a quota up to its virtual CPUs. Throws Error(unsuited)
/// for what is fixed at its start, with what to do.
Limits host_change(const Limits& change, unsigned vcpus, const std::string& who);
/// "52:54:00:…", the guest's MAC address, from the instance's id: locally administered, so it meets no real one.
std::string mac_address(const std::string& instance_id);

/// Throws Error(unsuited) "vm 'x' cannot …" for the first thing a workload asks for that a guest does not get yet: nothing is left out
/// in silence. Throws Error(invalid) for mounts that no backend takes.
void refuse_what_is_missing(const Workload& workload);

/// One word of the kernel's command line and why it is there.
struct KernelWord {
  std::string word;
  std::string why;
};
std::vector<KernelWord> kernel_words(const VmPlan& plan);
std::string command_line(const VmPlan& plan);

/// The <domain> for libvirt.
std::string domain_xml(const VmPlan& plan);

}  // namespace tare::vm
