// SPDX-License-Identifier: Apache-2.0
// Files on the instance's root filesystem, through the page cache: the cost of the path from write(2) to the cache and back, not of a disk.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/fd.h"
#include "image/probe/bench.h"

namespace probe {
namespace {

constexpr std::size_t kFileSize = 16U << 20;

/// A file in a directory of our own; both are gone when the owner dies.
class Scratch {
 public:
  Scratch() : directory_(bench_directory + "/probe-XXXXXX") {
    if (::mkdtemp(directory_.data()) == nullptr) {
      directory_.clear();
      return;
    }
    path_ = directory_ + "/file";
    fd_ = tare::Fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  }
  ~Scratch() {
    if (fd_) ::unlink(path_.c_str());
    if (!directory_.empty()) ::rmdir(directory_.c_str());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }

 private:
  std::string directory_;
  std::string path_;
  tare::Fd fd_;
};

/// Each block begins and ends with a number that says which block of which round it is.
void stamp(std::vector<unsigned char>& block, std::uint64_t number) {
  std::memcpy(block.data(), &number, sizeof number);
  std::memcpy(block.data() + block.size() - sizeof number, &number, sizeof number);
}

bool stamped(const std::vector<unsigned char>& block, std::uint64_t number) {
  return std::memcmp(block.data(), &number, sizeof number) == 0 &&
         std::memcmp(block.data() + block.size() - sizeof number, &number, sizeof number) == 0;
}

off_t offset_of(std::uint64_t index, std::size_t size) { return static_cast<off_t>(index * size); }

bool write_block(int fd, const std::vector<unsigned char>& block, std::uint64_t index) {
  return ::pwrite(fd, block.data(), block.size(), offset_of(index, block.size())) == static_cast<ssize_t>(block.size());
}

bool read_block(int fd, std::vector<unsigned char>& block, std::uint64_t index) {
  return ::pread(fd, block.data(), block.size(), offset_of(index, block.size())) == static_cast<ssize_t>(block.size());
}

bool fill(int fd, std::vector<unsigned char>& block) {
  for (std::uint64_t i = 0; i < kFileSize / block.size(); ++i) {
    stamp(block, i);
    if (!write_block(fd, block, i)) return false;
  }
  return true;
}

void count_bytes(benchmark::State& state, std::size_t block) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(block));
  state.counters["checksum"] = static_cast<double>(block);
}

}  // namespace

/// Blocks in an order that visits every one and never the next one, so that read-ahead does not matter.
void file_read(benchmark::State& state, std::size_t size) {
  const Scratch file;
  std::vector<unsigned char> block(size, 0xa5);
  if (!file || !fill(file.fd(), block)) return fail(state, "make a file in " + bench_directory, errno);
  const std::uint64_t count = kFileSize / size;
  std::uint64_t index = 0;
  for (auto _ : state) {
    index = (index + count / 2 + 1) % count;
    if (!read_block(file.fd(), block, index) || !stamped(block, index)) {
      state.SkipWithError("read back something else than was written");
      break;
    }
  }
  count_bytes(state, size);
}

/// Blocks in order, round and round over a file that is there already.
void file_write(benchmark::State& state, std::size_t size) {
  const Scratch file;
  std::vector<unsigned char> block(size, 0x5a);
  if (!file || !fill(file.fd(), block)) return fail(state, "make a file in " + bench_directory, errno);
  const std::uint64_t count = kFileSize / size;
  std::uint64_t written = 0;
  for (auto _ : state) {
    stamp(block, written);
    if (!write_block(file.fd(), block, written % count)) {
      fail(state, "write", errno);
      break;
    }
    ++written;
  }
  if (written > 0 && !(read_block(file.fd(), block, (written - 1) % count) && stamped(block, written - 1))) {
    state.SkipWithError("read back something else than was written");
  }
  count_bytes(state, size);
}

}  // namespace probe
