// SPDX-License-Identifier: Apache-2.0
// The host's end of the channel to a guest, and the mapping of the guest's clock to the host's.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/fd.h"
#include "core/timeline.h"
#include "core/units.h"
#include "guest/protocol.h"

namespace tare::vm {

/// Offset between two clocks by ping-pong: the exchange with the least round trip bounds it best. Not thread-safe.
class ClockMap {
 public:
  void add(Instant sent, std::int64_t guest_nanoseconds, Instant received);
  bool known() const { return exchanges_ > 0; }
  int exchanges() const { return exchanges_; }
  /// The host's moment of a guest's reading, within ± error_bound().
  Instant host(std::int64_t guest_nanoseconds) const { return Instant{guest_nanoseconds + offset_}; }
  std::chrono::nanoseconds error_bound() const { return std::chrono::nanoseconds((least_round_trip_ + 1) / 2); }

 private:
  int exchanges_ = 0;
  std::int64_t least_round_trip_ = 0;
  std::int64_t offset_ = 0;
};

/// What another agent shows to go on with a guest.
struct Attach {
  std::string token;
  std::uint64_t output = 0;  // how much of the workload's output it has
};

/// Where the numbers of the frames stand in both directions.
struct Position {
  std::uint32_t sent = 0;
  std::uint32_t received = 0;
};

/// Thread-safe for sending; one thread of its own receives.
///
/// A message is queued and then written without blocking for ever: a guest that hangs does not read. What a deadline leaves in the queue
/// goes out before the next message, so the stream stays whole, and a sequence that was queued at once arrives at once or not at all.
class Channel {
 public:
  struct Callbacks {
    std::function<void(const guest::Frame&, Instant arrived)> frame;  // on the receiving thread
    std::function<void(const std::string& why)> ended;                // the guest is gone or sends nonsense; the last call of that thread
  };
  /// What send() waits for a guest to read when it is given no deadline.
  static constexpr std::chrono::seconds kPatience{5};

  /// Connects to the socket on which QEMU listens. What is sent before the guest has opened its port waits there. The conversation goes on
  /// from `position`. Throws Error(failed).
  Channel(const std::string& path, Callbacks callbacks, Position position = {});
  /// To a guest that another agent talked to: what it still says to that one is dropped.
  Channel(const std::string& path, Callbacks callbacks, const Attach& attach);
  /// Begins to receive: callbacks come from now on.
  void listen();
  /// Ends the connection and its thread: no callback runs after it. Not from a callback. Idempotent.
  void end();
  ~Channel();

  /// Queues a message and does no more.
  template <class Message>
  void queue(const Message& message, std::uint16_t process = 0) {
    const std::lock_guard lock(sending_);
    append(guest::encode(message, process, queued_, buffer_));
  }
  /// An `argument` or `environment` frame. Throws Error(invalid) when the text is longer than a kernel takes.
  void queue_text(guest::Type type, const std::string& text, std::uint16_t process = 0);
  void queue_setting(guest::Setting::Key key, const std::string& text);
  /// How many frames were queued so far.
  std::uint32_t sent();
  /// Where it stands once all that has come is handled; nothing while part of a frame is on its way in either direction. Not from a
  /// callback.
  std::optional<Position> settle();
  /// Returns when all that was queued before is written. Throws Error(timeout) at the deadline, Error(failed) when the guest is gone.
  void flush(Deadline deadline);

  template <class Message>
  void send(const Message& message, std::uint16_t process = 0, Deadline deadline = Deadline::in(kPatience)) {
    queue(message, process);
    flush(deadline);
  }
  /// Queues it and writes what the socket takes now. Never waits, never throws for a guest that is gone: its end is told by `ended`.
  template <class Message>
  void post(const Message& message, std::uint16_t process = 0) {
    queue(message, process);
    write_some();
  }

 private:
  void receive();
  std::string pump();
  std::string take_what_came();
  void append(std::size_t size);
  int write_some();
  bool drop_to_token();

  Fd socket_;
  Callbacks callbacks_;
  std::mutex receiving_;  // held while what has come is handled
  std::vector<char> room_;
  guest::Parser parser_;
  std::string awaited_;      // token of the guest that is to answer with it
  std::size_t dropped_ = 0;  // bytes before it
  std::mutex sending_;       // this and what follows up to the thread
  std::uint32_t queued_;
  std::uint64_t bytes_queued_ = 0;
  std::uint64_t bytes_written_ = 0;
  std::string outgoing_;
  std::vector<char> buffer_;
  std::thread receiver_;
};

}  // namespace tare::vm
