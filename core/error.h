// SPDX-License-Identifier: Apache-2.0
// The one error type of tare. A failure is a code that programs act on, a sentence that names the object and what
// happened, and a hint that names the remedy. Thrown anywhere, caught only at a border: the HTTP handler, the CLI's
// main, one trial of a suite, the top of a thread.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace tare {

enum class Code {
  usage,        // the command line is wrong
  invalid,      // a file or request is wrong: suite, configuration, JSON body
  not_found,    // the thing named does not exist: run, image, command in an image
  conflict,     // it exists or is in use already: name, port, lock
  unsuited,     // this host cannot do it: no root, no KVM, no controller
  unavailable,  // a needed program or service is missing or not answering: libvirt, QEMU, kernel, agent
  exhausted,    // disk, memory, descriptors or pids ran out
  timeout,      // a deadline passed
  canceled,     // somebody asked to stop
  failed,       // the workload or an operation on it failed
  internal,     // a fault of tare itself
};

/// Stable lower-case word for `code`, as in the "code" field of a JSON error body: "not_found".
std::string_view name(Code code) noexcept;
/// The inverse of name(); Code::internal for a word that is none.
Code code_named(std::string_view word) noexcept;
/// HTTP status that reports `code`: 400, 404, 409, 500, 503, 504 or 507.
int http_status(Code code) noexcept;
/// Exit code of `tare` that reports `code`; the table is in the README ("Exit codes").
int exit_code(Code code) noexcept;

class Error : public std::exception {
 public:
  /// `sentence`: the object's name and what happened, no full stop. `hint`: what to do; empty when there is nothing to do.
  Error(Code code, std::string sentence, std::string hint = {});

  Code code() const noexcept { return code_; }
  const std::string& sentence() const noexcept { return sentence_; }
  const std::string& hint() const noexcept { return hint_; }
  /// sentence and hint in one line, "sentence: hint" or "sentence".
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  Code code_;
  std::string sentence_;
  std::string hint_;
  std::string what_;
};

/// "open /dev/kvm: Permission denied", from `action` and the error number `number` (errno when left out).
std::string errno_text(std::string_view action, int number);
std::string errno_text(std::string_view action);

/// The Code that an errno of a system call means to a user: ENOSPC → exhausted, ENOENT → not_found, EPERM → unsuited …
Code code_of_errno(int number) noexcept;

/// Throws Error(code_of_errno(errno), errno_text(action), hint).
[[noreturn]] void throw_errno(std::string_view action, std::string hint = {});

}  // namespace tare
