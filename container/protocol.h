// SPDX-License-Identifier: Apache-2.0
// The messages between the agent's container::Launcher and the tare-launcher process, one per packet of a SEQPACKET socket, both on one
// host and of one build (`kProtocolVersion` guards against a launcher that outlived an update). Pure: bytes in, values out. Decoding
// never trusts a length and never allocates more than the packet holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "container/plan.h"

namespace tare::container {

constexpr std::uint32_t kProtocolVersion = 5;
constexpr std::size_t kLargestMessage = 512 * 1024;
constexpr std::size_t kMostDescriptors = 96;

enum class Kind : std::uint8_t {
  start = 1,  // agent → launcher, with descriptors
  signal,     // agent → launcher
  forget,     // agent → launcher: the exit was seen, the entry may go
  hello,      // launcher → agent, once per connection: what is known
  started,    // launcher → agent: execve succeeded
  refused,    // launcher → agent: a step failed, or there is no such process
  done,       // launcher → agent: the signal is sent
  log,        // launcher → agent: the log file has grown to `size`
  exited,     // launcher → agent
  log_read,   // agent → launcher: somebody follows the log and has come this far
  feed,       // agent → launcher: bytes for stdin
  fed,        // launcher → agent: the process has taken some of them
  resize,     // agent → launcher: the terminal's size
  go,         // agent → launcher: a parked process may execute
};
std::optional<Kind> kind_of(std::string_view message);

/// Which descriptors come along, in this order: the tasks files, the mounts' trees, then each one that is flagged; with `streams` the
/// terminal's socket, or out, err and, with Plan::open_stdin, in.
struct StartRequest {
  std::uint64_t request = 0;
  std::uint32_t tasks = 0;
  std::uint32_t trees = 0;
  bool cgroup_directory = false;
  bool netns = false;
  bool userns = false;
  bool root = false;
  bool seccomp = false;
  bool streams = false;
  bool park = false;  // stop before execve and wait for Go; with its agent's connection it ends
  Plan plan;
  std::size_t descriptors() const {
    const std::size_t of_streams = !streams ? 0U : plan.tty ? 1U : plan.open_stdin ? 3U : 2U;
    return std::size_t{tasks} + trees + cgroup_directory + netns + userns + root + seccomp + of_streams;
  }
  bool operator==(const StartRequest&) const = default;
};

/// Answered by Started, or Refused with ESRCH where it has died while it waited.
struct Go {
  std::uint64_t request = 0;
  std::string key;
  bool operator==(const Go&) const = default;
};

struct SignalRequest {
  std::uint64_t request = 0;
  std::string key;
  std::int32_t number = 0;
  bool operator==(const SignalRequest&) const = default;
};

struct Forget {
  std::string key;
  bool operator==(const Forget&) const = default;
};

/// How a process ended, with what it and its reaped children cost.
struct Ended {
  std::string key;
  std::int32_t wait_status = 0;  // as wait4(2) tells it
  std::int64_t at = 0;           // CLOCK_MONOTONIC, nanoseconds
  std::uint64_t switches_voluntary = 0;
  std::uint64_t switches_involuntary = 0;
  std::uint64_t log_size = 0;  // all output that had arrived by then is in the log file up to here
  bool log_open = false;       // a descendant still holds a stream
  std::uint64_t log_lost = 0;  // bytes that could not be written to the log, and that it does not tell of
  bool operator==(const Ended&) const = default;
};

struct Known {
  std::string key;
  std::int32_t pid = 0;
  std::int64_t launched = 0;
  std::int64_t executed = 0;
  std::string log;
  std::uint64_t log_size = 0;
  bool log_open = false;
  std::uint64_t input_received = 0;  // bytes of all Feed messages
  std::uint64_t input_taken = 0;     // of these, what the process has been given
  bool input_open = false;
  std::optional<Ended> ended;
  bool operator==(const Known&) const = default;
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  std::int32_t pid = 0;
  std::vector<Known> known;
  bool operator==(const Hello&) const = default;
};

struct Started {
  std::uint64_t request = 0;
  std::int32_t pid = 0;
  std::int64_t launched = 0;  // clone3 returned; of a parked one that went: it was told to
  std::int64_t executed = 0;  // the child's descriptors were closed by a successful execve; 0: it is parked
  bool operator==(const Started&) const = default;
};

struct Refused {
  std::uint64_t request = 0;
  std::string step;        // "mount overlay"
  std::int32_t error = 0;  // errno
  std::string detail;      // the object, where the step has several: "/proc/sys"
  bool operator==(const Refused&) const = default;
};

struct Done {
  std::uint64_t request = 0;
  bool operator==(const Done&) const = default;
};

struct LogGrew {
  std::string key;
  std::uint64_t size = 0;
  bool closed = false;  // both streams have ended
  bool operator==(const LogGrew&) const = default;
};

/// From the first one on the launcher lets the workload wait while kLogWindow bytes of its log are unread. Ends with the connection, or
/// with the position kNobodyReads.
struct LogRead {
  std::string key;
  std::uint64_t position = 0;
  bool operator==(const LogRead&) const = default;
};
constexpr std::uint64_t kLogWindow = 1 << 20;
constexpr std::uint64_t kNobodyReads = ~std::uint64_t{0};

/// Bytes that may hold anything; every other text is a C string.
struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};

/// Bytes for a process' stdin. Who sends more than kInputWindow bytes beyond what Fed told is not one of ours.
struct Feed {
  std::string key;
  Blob bytes;
  bool end = false;  // nothing follows
  bool operator==(const Feed&) const = default;
};
constexpr std::uint64_t kInputWindow = 256 * 1024;

struct Fed {
  std::string key;
  std::uint64_t taken = 0;  // of all bytes that were ever sent for it
  bool open = false;        // false: it takes no more, what is sent is dropped
  bool operator==(const Fed&) const = default;
};

struct Resize {
  std::string key;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  bool operator==(const Resize&) const = default;
};

/// What every version of a hello begins with: a byte of Kind::hello, then these two numbers.
struct StartOfHello {
  std::uint32_t version = 0;
  std::int32_t pid = 0;
};
std::optional<StartOfHello> decode_start_of_hello(std::string_view bytes);

std::string encode(const StartRequest& message);
std::string encode(const Go& message);
std::string encode(const SignalRequest& message);
std::string encode(const Forget& message);
std::string encode(const Hello& message);
std::string encode(const Started& message);
std::string encode(const Refused& message);
std::string encode(const Done& message);
std::string encode(const LogGrew& message);
std::string encode(const Ended& message);
std::string encode(const LogRead& message);
std::string encode(const Resize& message);
std::string encode(const Fed& message);
std::string encode(const Feed& message);

/// False when the bytes are not exactly one message of that kind; `message` is then unspecified.
bool decode(std::string_view bytes, StartRequest& message);
bool decode(std::string_view bytes, Go& message);
bool decode(std::string_view bytes, SignalRequest& message);
bool decode(std::string_view bytes, Forget& message);
bool decode(std::string_view bytes, Hello& message);
bool decode(std::string_view bytes, Started& message);
bool decode(std::string_view bytes, Refused& message);
bool decode(std::string_view bytes, Done& message);
bool decode(std::string_view bytes, LogGrew& message);
bool decode(std::string_view bytes, Ended& message);
bool decode(std::string_view bytes, LogRead& message);
bool decode(std::string_view bytes, Resize& message);
bool decode(std::string_view bytes, Fed& message);
bool decode(std::string_view bytes, Feed& message);

}  // namespace tare::container
