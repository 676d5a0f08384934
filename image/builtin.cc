// SPDX-License-Identifier: Apache-2.0
#include "image/builtin.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/files.h"
#include "image/digest.h"

namespace tare::image {

std::vector<BuiltinEntry> builtin_entries(std::string probe) {
  const auto directory = [](std::string path, unsigned mode = 0755) { return BuiltinEntry{true, std::move(path), mode, {}}; };
  const auto file = [](std::string path, unsigned mode, std::string content) {
    return BuiltinEntry{false, std::move(path), mode, std::move(content)};
  };
  return {
      directory("/bin"),
      file("/bin/probe", 0755, std::move(probe)),
      directory("/etc"),
      file("/etc/passwd", 0644, "root:x:0:0:root:/root:/bin/probe\nnobody:x:65534:65534:nobody:/nonexistent:/bin/probe\n"),
      file("/etc/group", 0644, "root:x:0:\nnogroup:x:65534:\n"),
      // Empty: a backend mounts the instance's own files over them.
      file("/etc/hosts", 0644, ""),
      file("/etc/hostname", 0644, ""),
      file("/etc/resolv.conf", 0644, ""),
      directory("/dev"),
      directory("/proc"),
      directory("/sys"),
      directory("/run"),
      directory("/root", 0700),
      directory("/tmp", 01777),
      directory("/var"),
      directory("/var/tmp", 01777),
  };
}

std::string builtin_digest(const std::vector<BuiltinEntry>& entries) {
  Digest digest;
  for (const BuiltinEntry& entry : entries) {
    digest.add(std::uint64_t{entry.directory});
    digest.add(entry.path);
    digest.add(std::uint64_t{entry.mode});
    digest.add(entry.content);
  }
  return digest.text();
}

void write_builtin(const std::vector<BuiltinEntry>& entries, const std::filesystem::path& root) {
  const auto set_mode = [](const std::filesystem::path& path, unsigned mode) {
    if (::chmod(path.c_str(), mode) != 0) throw_errno("chmod " + path.string());
  };
  if (::mkdir(root.c_str(), 0755) != 0) throw_errno("mkdir " + root.string());
  set_mode(root, 0755);
  for (const BuiltinEntry& entry : entries) {
    const std::filesystem::path path = root / entry.path.substr(1);
    if (entry.directory) {
      if (::mkdir(path.c_str(), 0700) != 0) throw_errno("mkdir " + path.string());
    } else {
      const Fd fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
      write_all(fd.get(), entry.content, path.string());
    }
    set_mode(path, entry.mode);
  }
}

}  // namespace tare::image
