// SPDX-License-Identifier: Apache-2.0
// The wire format between tare-init (PID 1 of a guest) and the agent, over one virtio-serial port. Pure: no allocation, no
// exception, no system call, so that both ends use the same code. Neither end trusts the other's bytes.
//
//   header, 16 bytes, little-endian:  magic u32 | type u16 | process u16 | length u32 | sequence u32
//   payload, `length` bytes:          the fields of a message in the order of its visit(), then its text, if it has one
//
// `process` is 0 for the workload's first process and counts up for those that exec adds. `sequence` counts the frames of one
// direction from 0: a gap means that bytes were lost. A process to be started arrives as `argument`, `environment` and `setting`
// frames, one string each, and is run by the `start` or `exec` that follows: so no frame has to hold a whole environment.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tare::guest {

constexpr std::uint32_t kMagic = 0x65726174;  // "tare"
constexpr std::uint32_t kVersion = 3;
constexpr std::size_t kHeaderSize = 16;
constexpr std::size_t kMaxPayload = 128 * 1024;  // the kernel's bound of one argument (MAX_ARG_STRLEN)
constexpr std::size_t kMaxFrame = kHeaderSize + kMaxPayload;

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
  // guest → host
  hello = 32,
  executed = 33,
  output = 34,
  exited = 35,
  failure = 36,
  pong = 37,
  usage = 38,
};
/// True for a number that is one of the above.
bool known(std::uint16_t type) noexcept;

/// A string of the process to be started; for `argument` and `environment` the payload is the string itself.
struct Setting {
  enum class Key : std::uint8_t { program = 1, directory, hostname, address, gateway, gateway_mac, resolver };
  static constexpr Type kType = Type::setting;
  std::uint8_t key = 0;
  std::string_view text;  // address with its prefix: "10.213.7.2/30"
  template <class Codec>
  void visit(Codec& codec) {
    codec(key), codec(text);
  }
};

/// Runs the workload from the strings sent before.
struct Start {
  static constexpr Type kType = Type::start;
  std::uint64_t pids = 0;       // most processes and threads of the workload; 0: unlimited
  std::uint8_t restricted = 0;  // 1: the container's capability set and no_new_privs
  template <class Codec>
  void visit(Codec& codec) {
    codec(pids), codec(restricted);
  }
};

/// Runs a further process, header.process, from the strings sent before.
struct Exec {
  static constexpr Type kType = Type::exec;
  std::uint8_t restricted = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(restricted);
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

/// The host has the exit and the log: the guest may go. Until then it waits, so that an exit outlives the agent that asked for it.
struct PowerOff {
  static constexpr Type kType = Type::power_off;
  template <class Codec>
  void visit(Codec&) {}
};

/// First frame of a guest. Clock readings are the guest's CLOCK_MONOTONIC in nanoseconds.
struct Hello {
  static constexpr Type kType = Type::hello;
  std::uint32_t version = 0;
  std::int64_t kernel = 0;  // where the zero of the kernel's own log clock lies on that clock; may be negative
  std::int64_t init = 0;    // first statement of tare-init
  template <class Codec>
  void visit(Codec& codec) {
    codec(version), codec(kernel), codec(init);
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

struct Pong {
  static constexpr Type kType = Type::pong;
  std::uint64_t id = 0;
  std::int64_t at = 0;
  template <class Codec>
  void visit(Codec& codec) {
    codec(id), codec(at);
  }
};

struct GuestUsage {
  static constexpr Type kType = Type::usage;
  std::uint64_t id = 0;               // of the request
  std::uint64_t cpu_nanoseconds = 0;  // user, nice, system, irq and softirq of /proc/stat
  std::uint64_t memory_used = 0;      // MemTotal − MemAvailable, bytes
  std::uint64_t oom_kills = 0;        // oom_kill of /proc/vmstat
  template <class Codec>
  void visit(Codec& codec) {
    codec(id), codec(cpu_nanoseconds), codec(memory_used), codec(oom_kills);
  }
};

/// Writes fields into a fixed buffer; `fits` turns false instead of writing past the end.
class Encoder {
 public:
  explicit Encoder(std::span<char> out) : out_(out) {}
  template <class Integer>
  requires std::is_integral_v<Integer>
  void operator()(const Integer& value) {
    if (!reserve(sizeof(Integer))) return;
    auto bits = static_cast<std::make_unsigned_t<Integer>>(value);
    for (std::size_t i = 0; i < sizeof(Integer); ++i) out_[size_++] = static_cast<char>((bits >> (8 * i)) & 0xff);
  }
  void operator()(std::string_view text) {
    if (!reserve(text.size())) return;
    std::memcpy(out_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  bool fits() const { return fits_; }
  std::size_t size() const { return size_; }

 private:
  bool reserve(std::size_t count) { return fits_ = fits_ && count <= out_.size() - size_; }
  std::span<char> out_;
  std::size_t size_ = 0;
  bool fits_ = true;
};

/// Reads fields back; a text is all that is left.
class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}
  template <class Integer>
  requires std::is_integral_v<Integer>
  void operator()(Integer& value) {
    if (in_.size() < sizeof(Integer)) {
      complete_ = false;
      return;
    }
    std::make_unsigned_t<Integer> bits = 0;
    for (std::size_t i = sizeof(Integer); i-- > 0;) {
      bits = static_cast<decltype(bits)>((std::uint64_t{bits} << 8) | static_cast<unsigned char>(in_[i]));
    }
    value = static_cast<Integer>(bits);
    in_.remove_prefix(sizeof(Integer));
  }
  void operator()(std::string_view& text) { text = std::exchange(in_, {}); }
  bool exact() const { return complete_ && in_.empty(); }

 private:
  std::string_view in_;
  bool complete_ = true;
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
  explicit Parser(std::span<char> buffer) : buffer_(buffer) {}
  /// Where to read the next bytes to; never empty after next() said `incomplete`. Ends the life of the frame before.
  std::span<char> room() noexcept;
  void filled(std::size_t count) noexcept { end_ += count; }
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
  std::uint32_t expected_ = 0;
  const char* fault_ = nullptr;
};

}  // namespace tare::guest
