// SPDX-License-Identifier: Apache-2.0
// The wire format between tare-init (PID 1 of a guest) and the agent, over one virtio-serial port. Pure: no allocation, no
// exception, no system call, so that both ends use the same code. Neither end trusts the other's bytes.
//
//   header, 16 bytes, little-endian:  magic u32 | type u16 | process u16 | length u32 | sequence u32
//   payload, `length` bytes:          the fields of a message in the order of its visit(), then its text, if it has one
//
// `process` is 0 for the workload's first process and counts up for those that exec adds. `sequence` counts the frames of one
// direction from 0: a gap means that bytes were lost. A process to be started arrives as `argument`, `environment`, `setting`, `group`,
// `limit` and, for the workload, `mount` frames, one string or number each, and is run by the `start` or `exec` that follows: so no frame
// has to hold a whole environment.
//
// Another agent goes on with a guest whose agent has died: it sends the guest's token, which no workload knows, and behind it as a u64 how
// much of the workload's output it has. All that was on its way is forgotten then, in both directions. The guest answers with the token,
// and `attached` is the first frame of a new stream; output that its agent had not acknowledged comes again, and an exit is told again. The
// processes that exec had added are killed.
//
// Both directions of a process' streams have a window: so many bytes may be on their way, or wait for a reader, and no more. Who does not
// read holds back its own stream and nobody else's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "guest/codec.h"

namespace tare::guest {

constexpr std::uint32_t kMagic = 0x65726174;  // "tare"
constexpr std::uint32_t kVersion = 11;
constexpr std::size_t kHeaderSize = 16;
constexpr std::size_t kMaxPayload = 128 * 1024;  // the kernel's bound of one argument (MAX_ARG_STRLEN)
constexpr std::size_t kMaxFrame = kHeaderSize + kMaxPayload;
constexpr std::size_t kTokenSize = 32;               // digits
constexpr std::size_t kAttachSize = kTokenSize + 8;  // with the position of the output
constexpr std::uint64_t kInputWindow = 64 * 1024;    // bytes for a stdin beyond what `input_taken` told
constexpr std::uint64_t kOutputWindow = 256 * 1024;  // bytes of output beyond what `output_taken` told, of both streams together
// What its pipes still hold when a process ends comes beyond the window, up to this: a pipe is 1 MiB at most (fs.pipe-max-size). What a
// descendant writes after that is nobody's.
constexpr std::uint64_t kMostAtEnd = 4 * 1024 * 1024;

enum class Type : std::uint16_t {
  // host → guest
  argument = 1,
  environment = 2,
  setting = 3,
  start = 4,
  exec = 5,
  signal = 6,
  ping = 7,
  usage_request = 8,
  power_off = 9,
  group = 10,
  limit = 11,
  input = 12,
  input_end = 13,
  resize = 14,
  output_taken = 15,
  freeze = 16,
  identity = 17,
  clock = 18,
  facts_request = 19,
  mount = 20,
  // guest → host
  hello = 32,
  executed = 33,
  output = 34,
  exited = 35,
  failure = 36,
  pong = 37,
  usage = 38,
  input_taken = 39,
  identified = 40,
  rooted = 41,
  facts = 42,
  attached = 43,
};
/// True for a number that is one of the above.
bool known(std::uint16_t type) noexcept;

/// A string of the process to be started; for `argument` and `environment` the payload is the string itself.
struct Setting {
  enum class Key : std::uint8_t { program = 1, directory, hostname, address, gateway, gateway_mac, resolver, mac, token };
  static constexpr Type kType = Type::setting;
  std::uint8_t key = 0;
  std::string_view text;  // address with its prefix: "10.213.7.2/30"
  template <class Codec>
  void visit(Codec& codec) {
    codec(key), codec(text);
  }
};

/// One of the groups of the process to be started.
struct Group {
  static constexpr Type kType = Type::group;
  std::uint32_t gid = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(gid);
  }
};

/// One of its resource limits, setrlimit(2).
struct Limit {
  static constexpr Type kType = Type::limit;
  std::int32_t resource = 0;
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(resource), codec(soft), codec(hard);
  }
};

/// One of the workload's mounts, made in the order in which they come, after the root and what is mounted in it.
struct MountAt {
  enum class Kind : std::uint8_t { tmpfs = 1, directory, file };  // the last two of a share
  static constexpr Type kType = Type::mount;
  std::uint8_t kind = 0;
  std::uint8_t read_only = 0;
  std::uint8_t set_ids = 0;  // 1: set-user-ID programs in it keep their word
  std::uint16_t share = 0;   // virtiofs with the tag "tare<share>"; of a file: the one named "file" in it
  std::uint64_t size = 0;    // of a tmpfs, bytes; 0: half of the memory
  std::string_view text;     // the target, an absolute path
  template <class Codec>
  void visit(Codec& codec) {
    codec(kind), codec(read_only), codec(set_ids), codec(share), codec(size), codec(text);
  }
};

/// As whom and how a process runs.
struct Attributes {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t umask = 022;
  std::uint8_t restricted = 0;  // 1: the container's capability set and no_new_privs
  std::uint8_t open_stdin = 0;  // 1: its stdin is fed by `input`; else it reads /dev/null
  std::uint8_t tty = 0;         // 1: it has a terminal, which is its stdin too; its output is stream 1
  std::uint16_t rows = 0;       // of the terminal, at first; 0 × 0: nobody said
  std::uint16_t columns = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(uid), codec(gid), codec(umask), codec(restricted), codec(open_stdin), codec(tty), codec(rows), codec(columns);
  }
};

/// Runs the workload from the strings sent before.
struct Start {
  static constexpr Type kType = Type::start;
  std::uint64_t pids = 0;  // most processes and threads of the workload; 0: unlimited
  std::uint8_t read_only_root = 0;
  Attributes attributes;
  template <class Codec>
  void visit(Codec& codec) {
    codec(pids), codec(read_only_root), attributes.visit(codec);
  }
};

/// Runs a further process, header.process, from the strings sent before.
struct Exec {
  static constexpr Type kType = Type::exec;
  Attributes attributes;
  template <class Codec>
  void visit(Codec& codec) {
    attributes.visit(codec);
  }
};

/// Bytes for the stdin of header.process, or typed at its terminal.
struct Input {
  static constexpr Type kType = Type::input;
  std::string_view text;
  template <class Codec>
  void visit(Codec& codec) {
    codec(text);
  }
};

/// Nothing will follow: header.process reads the end. A terminal stays and types its end-of-file character.
struct InputEnd {
  static constexpr Type kType = Type::input_end;
  template <class Codec>
  void visit(Codec&) {}
};

/// The terminal of header.process has another size.
struct Resize {
  static constexpr Type kType = Type::resize;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(rows), codec(columns);
  }
};

/// So many bytes of the output of header.process were read, of all that ever came.
struct OutputTaken {
  static constexpr Type kType = Type::output_taken;
  std::uint64_t position = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(position);
  }
};

/// A signal to header.process, or to every process in the guest.
struct Signal {
  static constexpr Type kType = Type::signal;
  std::int32_t number = 0;
  std::uint8_t whole_tree = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(number), codec(whole_tree);
  }
};

struct Ping {
  static constexpr Type kType = Type::ping;
  std::uint64_t id = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(id);
  }
};

struct UsageRequest {
  static constexpr Type kType = Type::usage_request;
  std::uint64_t id = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(id);
  }
};

struct FactsRequest {
  static constexpr Type kType = Type::facts_request;
  template <class Codec>
  void visit(Codec&) {}
};

/// The host has the exit and the log: the guest may go. Until then it waits, so that an exit outlives the agent that asked for it.
struct PowerOff {
  static constexpr Type kType = Type::power_off;
  template <class Codec>
  void visit(Codec&) {}
};

/// The guest is about to be stopped, so that clones of it can be started: it leaves its network, whose addresses belong to it alone.
struct Freeze {
  static constexpr Type kType = Type::freeze;
  template <class Codec>
  void visit(Codec&) {}
};

/// First frame to a clone, after its settings: it is another instance from now on. Answered by `identified`, or `failure` of process 0.
struct Identity {
  static constexpr Type kType = Type::identity;
  std::int64_t realtime = 0;  // nanoseconds since the epoch
  std::string_view seed;      // for the random number generator, which its template's other clones have too
  template <class Codec>
  void visit(Codec& codec) {
    codec(realtime), codec(seed);
  }
};

/// To a clone that has its identity and was stopped since: what the time is. Answered as an identity is.
struct Clock {
  static constexpr Type kType = Type::clock;
  std::int64_t realtime = 0;  // nanoseconds since the epoch
  template <class Codec>
  void visit(Codec& codec) {
    codec(realtime);
  }
};

/// First frame of a guest. Clock readings are the guest's CLOCK_MONOTONIC in nanoseconds.
struct Hello {
  static constexpr Type kType = Type::hello;
  std::uint32_t version = 0;
  std::int64_t kernel = 0;       // where the zero of the kernel's own log clock lies on that clock; may be negative
  std::int64_t init = 0;         // first statement of tare-init
  std::int64_t loading = 0;      // it begins to load modules …
  std::int64_t loaded = 0;       // … and has loaded them
  std::int64_t opened = 0;       // the port of the channel is open
  std::uint64_t init_ticks = 0;  // the time-stamp counter at `init`: 0 when the vCPU began, where it is emulated
  template <class Codec>
  void visit(Codec& codec) {
    codec(version), codec(kernel), codec(init), codec(loading), codec(loaded), codec(opened), codec(init_ticks);
  }
};

/// The workload's root is mounted and entered.
struct Rooted {
  static constexpr Type kType = Type::rooted;
  std::int64_t at = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(at);
  }
};

/// The execve of header.process succeeded.
struct Executed {
  static constexpr Type kType = Type::executed;
  std::int64_t at = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(at);
  }
};

/// What header.process wrote to stdout (1) or stderr (2).
struct Output {
  static constexpr Type kType = Type::output;
  std::uint8_t stream = 0;
  std::string_view text;
  template <class Codec>
  void visit(Codec& codec) {
    codec(stream), codec(text);
  }
};

/// header.process ended; all its output came before.
struct Exited {
  static constexpr Type kType = Type::exited;
  std::int64_t at = 0;
  std::int32_t code = 0;  // exit status or signal number
  std::uint8_t signaled = 0;
  std::uint8_t oom = 0;  // the guest's kernel killed for memory while it ran
  template <class Codec>
  void visit(Codec& codec) {
    codec(at), codec(code), codec(signaled), codec(oom);
  }
};

/// A step failed: of the start of header.process, or of the guest's own set-up.
struct Failure {
  static constexpr Type kType = Type::failure;
  std::int32_t number = 0;  // errno
  std::string_view text;    // the step: "mount /dev/vda"
  template <class Codec>
  void visit(Codec& codec) {
    codec(number), codec(text);
  }
};

/// So many bytes of the input of header.process were read by it, of all that ever came.
struct InputTaken {
  static constexpr Type kType = Type::input_taken;
  std::uint64_t position = 0;
  std::uint8_t open = 0;  // 0: nobody can read any more, what follows is dropped
  template <class Codec>
  void visit(Codec& codec) {
    codec(position), codec(open);
  }
};

/// The clone has its own name, address, time and randomness.
struct Identified {
  static constexpr Type kType = Type::identified;
  std::int64_t at = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(at);
  }
};

struct Pong {
  static constexpr Type kType = Type::pong;
  std::uint64_t id = 0;
  std::int64_t at = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(id), codec(at);
  }
};

/// Requests of a disk, packets of an interface.
struct Traffic {
  std::uint64_t in = 0;   // reads
  std::uint64_t out = 0;  // writes
  std::uint64_t in_bytes = 0;
  std::uint64_t out_bytes = 0;
  bool operator==(const Traffic&) const = default;
};

struct GuestUsage {
  static constexpr Type kType = Type::usage;
  std::uint64_t id = 0;                 // of the request
  std::uint64_t cpu_nanoseconds = 0;    // user, nice, system, irq and softirq of /proc/stat
  std::uint64_t steal_nanoseconds = 0;  // steal of /proc/stat: it was ready to run, and the hypervisor ran others
  std::uint64_t memory_used = 0;        // MemTotal − MemAvailable, bytes
  std::uint64_t memory_total = 0;       // MemTotal, bytes
  std::uint64_t oom_kills = 0;          // oom_kill of /proc/vmstat
  Traffic disk;                         // its virtio disks, /proc/diskstats
  Traffic network;                      // its interfaces but lo, /proc/net/dev
  template <class Codec>
  void visit(Codec& codec) {
    codec(id), codec(cpu_nanoseconds), codec(steal_nanoseconds), codec(memory_used), codec(memory_total), codec(oom_kills);
    for (Traffic* traffic : {&disk, &network}) codec(traffic->in), codec(traffic->out), codec(traffic->in_bytes), codec(traffic->out_bytes);
  }
};

/// What a program sees of the guest's machine.
struct Facts {
  static constexpr Type kType = Type::facts;
  std::uint32_t cpus = 0;
  std::uint32_t nodes = 0;
  std::uint64_t memory = 0;  // MemTotal, bytes
  std::string_view text;     // two lines: the kernel's release, and the line of flags of /proc/cpuinfo
  template <class Codec>
  void visit(Codec& codec) {
    codec(cpus), codec(nodes), codec(memory), codec(text);
  }
};

/// First frame to another agent.
struct Attached {
  static constexpr Type kType = Type::attached;
  std::int64_t at = 0;
  std::uint64_t output = 0;       // position with which the workload's output goes on
  std::uint64_t input = 0;        // bytes for its stdin that have come
  std::uint64_t input_taken = 0;  // of these, read by it
  std::uint8_t input_open = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(at), codec(output), codec(input), codec(input_taken), codec(input_open);
  }
};

struct Frame {
  Type type{};
  std::uint16_t process = 0;
  std::uint32_t sequence = 0;
  std::string_view payload;
};

/// The frame of `payload` in `out`; its size, or 0 when it does not fit.
std::size_t encode_frame(Type type, std::uint16_t process, std::uint32_t sequence, std::string_view payload, std::span<char> out) noexcept;

/// The frame of a message in `out`; its size, or 0 when it does not fit.
template <class Message>
std::size_t encode(Message message, std::uint16_t process, std::uint32_t sequence, std::span<char> out) noexcept {
  if (out.size() < kHeaderSize) return 0;
  Encoder body(out.subspan(kHeaderSize));
  message.visit(body);
  if (!body.fits()) return 0;
  return encode_frame(Message::kType, process, sequence, {out.data() + kHeaderSize, body.size()}, out);
}

/// The message in a payload; nothing when it is too short or too long. Its text points into `payload`.
template <class Message>
std::optional<Message> decode(std::string_view payload) noexcept {
  Message message;
  Decoder body(payload);
  message.visit(body);
  if (!body.exact()) return std::nullopt;
  return message;
}

/// Cuts a byte stream into frames, in a buffer of the caller's of at least kMaxFrame bytes.
class Parser {
 public:
  /// `expected` is the sequence of the first frame.
  explicit Parser(std::span<char> buffer, std::uint32_t expected = 0) : buffer_(buffer), expected_(expected) {}
  std::uint32_t expected() const noexcept { return expected_; }
  /// No part of a frame waits for its rest.
  bool is_empty() const noexcept { return begin_ == end_; }
  /// Where to read the next bytes to; never empty after next() said `incomplete`. Ends the life of the frame before.
  std::span<char> room() noexcept;
  void filled(std::size_t count) noexcept { end_ += count; }
  /// What is there and no frame yet; valid as room() is.
  std::string_view unread() const noexcept { return {buffer_.data() + begin_, end_ - begin_}; }
  /// Leaves out the next `count` bytes: what follows is another stream.
  void restart(std::size_t count) noexcept;
  enum class Result { frame, incomplete, corrupt };
  /// The next frame, whose payload points into the buffer. After `corrupt`, which fault() explains, every call says `corrupt`.
  Result next(Frame& frame) noexcept;
  const char* fault() const noexcept { return fault_; }

 private:
  Result corrupt(const char* why) noexcept {
    fault_ = why;
    return Result::corrupt;
  }
  std::span<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint32_t expected_;
  const char* fault_ = nullptr;
};

}  // namespace tare::guest
