// SPDX-License-Identifier: Apache-2.0
// The guest's end of the channel: frames out, frames in. Writes block while the host does not read: so no output is ever lost, and a
// guest whose agent died waits for the next one.
#pragma once

#include "guest/protocol.h"

namespace tare::guest::channel {

/// Opens the port, waiting until the driver has made it. False when there is none.
bool open_port() noexcept;
/// To poll for input.
int fd() noexcept;

/// Sends one frame. False when the payload is too long or the port is gone.
bool send(Type type, std::uint16_t process, std::string_view payload) noexcept;
template <class Message>
bool send(const Message& message, std::uint16_t process) noexcept;
void fail(std::uint16_t process, const char* step, int error) noexcept;

/// Reads what is there, waiting when there is nothing. False when the port is gone.
bool receive() noexcept;
/// The next frame of what receive() read. Ends the guest when the host's bytes make no sense: there is nothing to resume from.
bool next(Frame& frame) noexcept;

/// Room in which a message is encoded before it is sent.
std::span<char> scratch() noexcept;
bool send_encoded(std::span<const char> frame) noexcept;
std::uint32_t sequence() noexcept;

template <class Message>
bool send(const Message& message, std::uint16_t process) noexcept {
  const std::size_t size = encode(message, process, sequence(), scratch());
  return size > 0 && send_encoded(scratch().first(size));
}

}  // namespace tare::guest::channel
