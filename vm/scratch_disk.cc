// SPDX-License-Identifier: Apache-2.0
#include "vm/scratch_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/error.h"
#include "core/files.h"
#include "core/process.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

constexpr std::uintmax_t kSize = 8ULL << 30;  // of the file system; the file holds less than 2 MiB until a guest writes

std::string mkfs_program() {
  if (const auto found = find_program("mkfs.ext4")) return *found;
  if (fs::exists("/usr/sbin/mkfs.ext4")) return "/usr/sbin/mkfs.ext4";
  throw Error(Code::unavailable, "mkfs.ext4 is missing", "apt-get install e2fsprogs");
}

/// Through this process: some file systems copy nothing themselves, and an overlay not between its layers (EXDEV). What does not know its
/// holes either reads them as zeros, which are left out here.
ssize_t copy_by_hand(int from, off_t& at, int to, std::size_t size) {
  char buffer[64 * 1024];
  const ssize_t count = ::pread(from, buffer, std::min(size, sizeof buffer), at);
  if (count <= 0) return count;
  const std::string_view data(buffer, static_cast<std::size_t>(count));
  if (data.find_first_not_of('\0') != std::string_view::npos) {
    write_all(to, data, "copy");
  } else if (::lseek(to, count, SEEK_CUR) < 0) {
    return -1;
  }
  at += count;
  return count;
}

void copy_range(int from, int to, off_t begin, off_t end, const std::string& what) {
  off_t at = begin;
  if (::lseek(to, begin, SEEK_SET) < 0) throw_errno("seek in " + what);
  for (bool by_hand = false; at < end;) {
    const auto left = static_cast<std::size_t>(end - at);
    const ssize_t count = by_hand ? copy_by_hand(from, at, to, left) : ::copy_file_range(from, &at, to, nullptr, left, 0);
    const bool refused = count < 0 && !by_hand && (errno == EXDEV || errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS);
    by_hand = by_hand || refused;
    if (refused) continue;
    if (count < 0) throw_errno("copy to " + what);
    if (count == 0) throw Error(Code::failed, "copy to " + what + ": its source became shorter");
  }
}

}  // namespace

fs::path scratch_template(const Paths& paths) {
  const fs::path made = paths.guest() / "scratch.ext4";
  if (fs::exists(made)) return made;
  fs::create_directories(paths.guest());
  const TempDir temporary(paths.guest());
  const fs::path file = temporary.path() / "scratch.ext4";
  open_file(file, O_WRONLY | O_CREAT | O_EXCL, 0600);
  fs::resize_file(file, kSize);
  // A small journal, and nothing zeroed ahead of its use: the template stays sparse and its copy takes a millisecond.
  check_tool(
      {mkfs_program(), "-q", "-F", "-m", "0", "-J", "size=16", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", file.string()},
      Deadline::in(std::chrono::seconds(60)));
  fs::rename(file, made);
  return made;
}

void copy_sparse(const fs::path& from, const fs::path& to) {
  const Fd source = open_file(from, O_RDONLY);
  const Fd target = open_file(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (::ioctl(target.get(), FICLONE, source.get()) == 0) return;
  struct stat status {};
  if (::fstat(source.get(), &status) != 0) throw_errno("stat " + from.string());
  if (::ftruncate(target.get(), status.st_size) != 0) throw_errno("size of " + to.string());
  for (off_t end = 0; end < status.st_size;) {
    const off_t begin = ::lseek(source.get(), end, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return;  // only a hole is left
    if (begin < 0) throw_errno("seek in " + from.string());
    end = ::lseek(source.get(), begin, SEEK_HOLE);
    if (end < 0) throw_errno("seek in " + from.string());
    copy_range(source.get(), target.get(), begin, end, to.string());
  }
}

}  // namespace tare::vm
