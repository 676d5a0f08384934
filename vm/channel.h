// SPDX-License-Identifier: Apache-2.0
// The host's end of the channel to a guest, and the mapping of the guest's clock to the host's.
#pragma once

#include <functional>
#include <mutex>
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

/// Thread-safe for sending; one thread of its own receives.
class Channel {
 public:
  struct Callbacks {
    std::function<void(const guest::Frame&, Instant arrived)> frame;  // on the receiving thread
    std::function<void(const std::string& why)> ended;                // the guest is gone or sends nonsense; the last call of that thread
  };
  /// Connects to the socket on which QEMU listens. What is sent before the guest has opened its port waits there. Throws Error(failed).
  Channel(const std::string& path, Callbacks callbacks);
  /// Begins to receive: callbacks come from now on.
  void listen();
  /// Ends the connection and its thread. Not from a callback.
  ~Channel();

  template <class Message>
  void send(const Message& message, std::uint16_t process = 0) {
    const std::lock_guard lock(sending_);
    transmit(guest::encode(message, process, sent_, buffer_));
  }
  /// An `argument` or `environment` frame. Throws Error(invalid) when the text is longer than a kernel takes.
  void send_text(guest::Type type, const std::string& text, std::uint16_t process = 0);
  void send_setting(guest::Setting::Key key, const std::string& text);

 private:
  void receive();
  std::string pump();
  void transmit(std::size_t size);

  Fd socket_;
  Callbacks callbacks_;
  std::mutex sending_;
  std::uint32_t sent_ = 0;
  std::vector<char> buffer_;
  std::thread receiver_;
};

}  // namespace tare::vm
