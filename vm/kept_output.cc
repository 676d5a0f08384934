// SPDX-License-Identifier: Apache-2.0
#include "vm/kept_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/log_files.h"
#include "core/log_tail.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLargestPiece = 32 * 1024;

struct Record {
  std::uint64_t size = 0;
  std::uint64_t received = 0;
};

fs::path record_file(const fs::path& directory) { return directory / "output"; }

std::unique_ptr<LogWriter> writer(const std::string& path, const LogLimits& limits, std::uint64_t size) try {
  return std::make_unique<LogWriter>(path, limits.max_size.count, static_cast<std::uint32_t>(limits.max_files), size);
} catch (const std::system_error& error) {
  throw Error(code_of_errno(error.code().value()), errno_text("log " + path, error.code().value()));
}

}  // namespace

KeptOutput::KeptOutput(const fs::path& directory, const LogLimits& limits)
    : path_(directory / "log"),
      record_(open_file(record_file(directory), O_RDWR | O_CREAT | O_TRUNC, 0600)),
      writer_(writer(path_, limits, 0)),
      buffer_(sizeof(LogFrame) + kLargestPiece) {
  record();
}

KeptOutput::KeptOutput(const fs::path& directory, const LogLimits& limits, Log& log)
    : path_(directory / "log"), record_(open_file(record_file(directory), O_RDWR)), buffer_(sizeof(LogFrame) + kLargestPiece) {
  Record kept;
  if (::pread(record_.get(), &kept, sizeof kept, 0) != sizeof kept) {
    throw Error(Code::failed, record_file(directory).string() + " is damaged: nobody knows how much of the output there is");
  }
  writer_ = writer(path_, limits, kept.size);
  received_ = kept.received;
  size_ = kept.size;
  LogTail(path_).read_to(kept.size, log);
}

void KeptOutput::append(Stream stream, std::string_view bytes, Instant at, std::uint64_t received) {
  write(stream, bytes, at);
  received_ = received;
  record();
}

void KeptOutput::write(Stream stream, std::string_view bytes, Instant at) {
  for (std::size_t done = 0; done < bytes.size(); done += kLargestPiece) {
    const std::string_view piece = bytes.substr(done, kLargestPiece);
    std::memcpy(buffer_.data() + sizeof(LogFrame), piece.data(), piece.size());
    writer_->append(buffer_.data(), piece.size(), static_cast<std::uint32_t>(stream), at.nanoseconds);
  }
}

// After what it tells of. The kernel keeps it when we are killed, which is all that is promised: the guest dies with the host.
void KeptOutput::record() {
  const Record now{writer_->size(), received_};
  if (::pwrite(record_.get(), &now, sizeof now, 0) == sizeof now) size_ = now.size;
}

}  // namespace tare::vm
