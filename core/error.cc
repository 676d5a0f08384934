// SPDX-License-Identifier: Apache-2.0
#include "core/error.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace tare {
namespace {

struct Row {
  Code code;
  std::string_view word;
  int http;
  int exit;
};

// The one table from a Code to what the outside sees; rows in the order of the enum.
constexpr std::array kRows = {
    Row{Code::usage, "usage", 400, 2},         Row{Code::invalid, "invalid", 400, 2},   Row{Code::not_found, "not_found", 404, 2},
    Row{Code::conflict, "conflict", 409, 1},   Row{Code::unsuited, "unsuited", 503, 3}, Row{Code::unavailable, "unavailable", 503, 3},
    Row{Code::exhausted, "exhausted", 507, 1}, Row{Code::timeout, "timeout", 504, 124}, Row{Code::canceled, "canceled", 409, 130},
    Row{Code::failed, "failed", 500, 1},       Row{Code::internal, "internal", 500, 1},
};

const Row& row(Code code) noexcept { return kRows[static_cast<std::size_t>(code)]; }

}  // namespace

std::string_view name(Code code) noexcept { return row(code).word; }
int http_status(Code code) noexcept { return row(code).http; }
int exit_code(Code code) noexcept { return row(code).exit; }

Code code_named(std::string_view word) noexcept {
  for (const Row& r : kRows) {
    if (r.word == word) return r.code;
  }
  return Code::internal;
}

Error::Error(Code code, std::string sentence, std::string hint)
    : code_(code), sentence_(std::move(sentence)), hint_(std::move(hint)), what_(hint_.empty() ? sentence_ : sentence_ + ": " + hint_) {}

std::string errno_text(std::string_view action, int number) {
  std::string text(action);
  text += ": ";
  text += std::strerror(number);  // NOLINT(concurrency-mt-unsafe): glibc's is per thread since 2.32
  return text;
}

std::string errno_text(std::string_view action) { return errno_text(action, errno); }

Code code_of_errno(int number) noexcept {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH: return Code::not_found;
    case EPERM:
    case EACCES:
    case ENOSYS:
    case EOPNOTSUPP: return Code::unsuited;
    case EEXIST:
    case EBUSY:
    case EADDRINUSE: return Code::conflict;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN: return Code::exhausted;
    case ETIMEDOUT: return Code::timeout;
    case EINVAL: return Code::invalid;
    default: return Code::failed;
  }
}

void throw_errno(std::string_view action, std::string hint) {
  const int number = errno;
  throw Error(code_of_errno(number), errno_text(action, number), std::move(hint));
}

}  // namespace tare
