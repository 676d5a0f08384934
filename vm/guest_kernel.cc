// SPDX-License-Identifier: Apache-2.0
#include "vm/guest_kernel.h"

#include <elf.h>
#include <lz4.h>
#include <strings.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "image/cpio.h"
#include "image/digest.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kSetupSectors = 0x1f1;  // offsets of Documentation/arch/x86/boot.rst
constexpr std::size_t kHeaderMagic = 0x202;
constexpr std::size_t kPayloadOffset = 0x248;
constexpr std::size_t kPayloadLength = 0x24c;
constexpr std::size_t kSector = 512;
constexpr std::uint32_t kLz4Legacy = 0x184c2102;
constexpr std::uint32_t kMostKernel = 256U << 20;

const std::vector<std::string> kChannelMmio = {"virtio_mmio", "virtio_console"};
const std::vector<std::string> kChannelPci = {"virtio_pci", "virtio_console"};
const std::vector<std::string> kRest = {"virtio_blk", "erofs", "overlay"};
const std::vector<std::string> kNetwork = {"virtio_net"};
const std::vector<std::string> kShares = {"virtiofs"};

std::optional<std::uint32_t> number_at(std::string_view bytes, std::size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < 4) return std::nullopt;
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

[[noreturn]] void not_usable(const std::string& why) {
  throw Error(Code::unsuited, "guest kernel: " + why, "use a Debian cloud kernel: guest/fetch-kernel.sh unpacks one");
}

std::string_view payload_of(std::string_view image) {
  if (image.size() < 0x260 || image.substr(kHeaderMagic, 4) != "HdrS") not_usable("the file is no bzImage");
  const auto sectors = static_cast<unsigned char>(image[kSetupSectors]);
  const std::size_t start = (std::size_t{sectors == 0 ? 4U : sectors} + 1) * kSector + number_at(image, kPayloadOffset).value_or(0);
  const std::size_t length = number_at(image, kPayloadLength).value_or(0);
  if (length < 12 || start > image.size() || length > image.size() - start) not_usable("the bzImage is cut short");
  return image.substr(start, length);
}

// The newest of directory entries that `release_of` gives a release for, by version order.
template <class ReleaseOf>
std::optional<std::string> newest(const fs::path& directory, ReleaseOf release_of) {
  std::optional<std::string> best;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::optional<std::string> release = release_of(entry.path());
    if (release && (!best || ::strverscmp(best->c_str(), release->c_str()) < 0)) best = release;
  }
  return best;
}

std::optional<KernelFiles> in_directory(const fs::path& directory) {
  KernelFiles files{directory.filename().string(), directory / "vmlinuz", directory / "modules"};
  if (!fs::exists(files.modules)) files.modules = directory / "lib" / "modules" / files.release;
  if (fs::exists(files.vmlinuz) && fs::exists(files.modules / "modules.dep")) return files;
  return std::nullopt;
}

std::optional<KernelFiles> installed(const fs::path& root) {
  const auto modules = [&](const std::string& release) { return root / "lib" / "modules" / release; };
  const auto release = newest(root / "boot", [&](const fs::path& file) -> std::optional<std::string> {
    const std::string name = file.filename().string();
    if (name.rfind("vmlinuz-", 0) != 0 || !fs::exists(modules(name.substr(8)) / "modules.dep")) return std::nullopt;
    return name.substr(8);
  });
  if (!release) return std::nullopt;
  return KernelFiles{*release, root / "boot" / ("vmlinuz-" + *release), modules(*release)};
}

// "kernel/fs/erofs/erofs.ko" → "erofs"
std::string module_name(std::string_view path) {
  path.remove_prefix(path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/') + 1);
  std::string name(path.substr(0, path.find('.')));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// The paths in one line of modules.dep: the module, then what it needs, nearest first.
std::vector<std::string> paths_in(std::string_view line) {
  std::vector<std::string> paths;
  while (!line.empty()) {
    const std::size_t end = line.find(' ');
    std::string_view word = line.substr(0, end);
    if (!word.empty() && word.back() == ':') word.remove_suffix(1);
    if (!word.empty()) paths.emplace_back(word);
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  }
  return paths;
}

void add_modules(const KernelFiles& kernel, const std::string& list, const std::vector<std::string>& names,
                 std::vector<image::CpioEntry>& entries) {
  std::string text;
  for (const std::string& path : load_order(read_file(kernel.modules / "modules.dep"), names)) {
    const std::string inside = "modules/" + module_name(path) + ".ko";
    if (!path.ends_with(".ko")) not_usable("module " + path + " is compressed");
    text += "/" + inside + "\n";
    const bool known = std::any_of(entries.begin(), entries.end(), [&](const image::CpioEntry& e) { return e.path == inside; });
    if (known) continue;
    image::CpioEntry entry;
    entry.path = inside;
    entry.content = without_signature(read_file(kernel.modules / path));
    entries.push_back(std::move(entry));
  }
  image::CpioEntry entry;
  entry.path = "modules/" + list;
  entry.content = std::move(text);
  entries.push_back(std::move(entry));
}

image::CpioEntry directory(const std::string& path) {
  image::CpioEntry entry;
  entry.kind = image::CpioEntry::Kind::directory;
  entry.path = path;
  entry.mode = 0755;
  return entry;
}

void make_once(const fs::path& file, const std::string& content) {
  std::error_code error;
  if (fs::exists(file)) return;
  fs::create_directories(file.parent_path(), error);
  write_file_atomic(file, content);
}

}  // namespace

std::optional<KernelFiles> kernel_named(const Paths& paths, const std::string& release, const fs::path& root) {
  if (auto files = in_directory(paths.kernels() / release)) return files;
  KernelFiles files{release, root / "boot" / ("vmlinuz-" + release), root / "lib" / "modules" / release};
  if (fs::exists(files.vmlinuz) && fs::exists(files.modules / "modules.dep")) return files;
  return std::nullopt;
}

KernelFiles find_kernel(const Paths& paths, const fs::path& configured, const fs::path& root) {
  if (!configured.empty()) {
    if (const auto files = in_directory(configured)) return *files;
    throw Error(Code::unavailable, "guest kernel: " + configured.string() + " has no vmlinuz with modules/modules.dep",
                "point the setting at a directory that guest/fetch-kernel.sh made");
  }
  const auto release = newest(paths.kernels(), [](const fs::path& path) -> std::optional<std::string> {
    if (!in_directory(path)) return std::nullopt;
    return path.filename().string();
  });
  if (release) return *in_directory(paths.kernels() / *release);
  if (const auto files = installed(root)) return *files;
  throw Error(Code::unavailable, "guest kernel: none in " + paths.kernels().string() + " and none in " + (root / "boot").string(),
              "guest/fetch-kernel.sh " + paths.kernels().string());
}

std::string elf_of_bzimage(std::string_view bzimage) {
  std::string_view payload = payload_of(bzimage);
  if (number_at(payload, 0) != kLz4Legacy) not_usable("its payload is not compressed with LZ4");
  // The kernel's build appends the size of the whole to the stream, which has no end mark of its own.
  const std::uint32_t size = *number_at(payload, payload.size() - 4);
  if (size > kMostKernel) not_usable("its payload claims an absurd size");
  payload = payload.substr(4, payload.size() - 8);
  std::string elf(size, '\0');
  std::size_t filled = 0;
  while (filled < elf.size()) {
    const std::size_t block = number_at(payload, 0).value_or(0);
    if (block == 0 || block > payload.size() - 4) not_usable("its LZ4 stream is cut short");
    const int room = static_cast<int>(elf.size() - filled);
    const int count = LZ4_decompress_safe(payload.data() + 4, elf.data() + filled, static_cast<int>(block), room);
    if (count <= 0) not_usable("its LZ4 stream is damaged");
    filled += static_cast<std::size_t>(count);
    payload.remove_prefix(4 + block);
  }
  if (elf.compare(0, SELFMAG, ELFMAG) != 0) not_usable("its payload is no ELF file");
  return elf;
}

std::string without_zero_tails(std::string elf) {
  Elf64_Ehdr header;
  if (elf.size() < sizeof header) return elf;
  std::memcpy(&header, elf.data(), sizeof header);
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    const std::size_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
    Elf64_Phdr segment;
    if (at > elf.size() || elf.size() - at < sizeof segment) break;
    std::memcpy(&segment, elf.data() + at, sizeof segment);
    if (segment.p_type != PT_LOAD || segment.p_offset > elf.size() || segment.p_filesz > elf.size() - segment.p_offset) continue;
    const std::string_view bytes(elf.data() + segment.p_offset, segment.p_filesz);
    const std::size_t last = bytes.find_last_not_of('\0');
    segment.p_filesz = last == std::string_view::npos ? 0 : last + 1;
    std::memcpy(elf.data() + at, &segment, sizeof segment);
  }
  return elf;
}

std::string_view without_signature(std::string_view module) {
  constexpr std::string_view kMarker = "~Module signature appended~\n";  // include/linux/module_signature.h
  constexpr std::size_t kInfo = 12;                                      // its last four bytes: the signature's length, big-endian
  if (!module.ends_with(kMarker) || module.size() < kMarker.size() + kInfo) return module;
  const std::string_view body = module.substr(0, module.size() - kMarker.size() - kInfo);
  std::size_t length = 0;
  for (const char byte : module.substr(body.size() + kInfo - 4, 4)) length = length << 8 | static_cast<unsigned char>(byte);
  return length <= body.size() ? body.substr(0, body.size() - length) : module;
}

std::vector<std::string> load_order(std::string_view modules_dep, const std::vector<std::string>& names) {
  std::vector<std::string> order;
  for (std::string wanted : names) {
    std::replace(wanted.begin(), wanted.end(), '-', '_');
    for (std::string_view rest = modules_dep; !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (module_name(line.substr(0, line.find(':'))) != wanted) continue;
      std::vector<std::string> paths = paths_in(line);
      std::reverse(paths.begin(), paths.end());
      for (std::string& path : paths) {
        if (std::find(order.begin(), order.end(), path) == order.end()) order.push_back(std::move(path));
      }
    }
  }
  return order;
}

fs::path elf_image(const Paths& paths, const KernelFiles& kernel) {
  // Named by size and time of its source: reading 14 MB for a digest would cost as much as making it.
  std::error_code error;
  const auto time = fs::last_write_time(kernel.vmlinuz, error).time_since_epoch().count();
  const auto size = fs::file_size(kernel.vmlinuz, error);
  if (error) throw Error(Code::unavailable, errno_text("read " + kernel.vmlinuz.string(), error.value()));
  const fs::path file = paths.guest() / ("vmlinux-" + kernel.release + "-" + std::to_string(size) + "-" + std::to_string(time));
  if (!fs::exists(file)) make_once(file, without_zero_tails(elf_of_bzimage(read_file(kernel.vmlinuz))));
  return file;
}

fs::path initramfs(const Paths& paths, const KernelFiles& kernel, Transport transport, const Extras& extras) {
  std::vector<image::CpioEntry> entries = {directory("dev"), directory("modules"), directory("proc"), directory("sys")};
  image::CpioEntry init;
  init.path = "init";
  init.mode = 0755;
  init.content = read_file(paths.libexec / "tare-init");
  entries.push_back(std::move(init));
  add_modules(kernel, "channel", transport == Transport::mmio ? kChannelMmio : kChannelPci, entries);
  std::vector<std::string> rest = kRest;
  if (extras.network) rest.insert(rest.end(), kNetwork.begin(), kNetwork.end());
  if (extras.shares) rest.insert(rest.end(), kShares.begin(), kShares.end());
  add_modules(kernel, "rest", rest, entries);
  const std::string archive = image::cpio(entries);
  image::Digest digest;
  digest.add(archive);
  const std::string hex = digest.text().substr(std::string_view("sha256:").size(), 16);
  const fs::path file = paths.guest() / ("initramfs-" + hex + ".cpio");
  make_once(file, archive);
  return file;
}

}  // namespace tare::vm
