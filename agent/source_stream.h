// SPDX-License-Identifier: Apache-2.0
// Sends a Source over a connection: what it has as it comes, and what the client says on the way back. Private to the server.
#pragma once

#include <array>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <memory>
#include <string_view>

#include "agent/source.h"

namespace tare::agent {

/// What the two directions of one such connection share; all run on the server's one thread.
struct SourceConnection {
  explicit SourceConnection(const boost::asio::any_io_executor& executor) : timer(executor), room(executor) {}
  boost::asio::steady_timer timer;  // never expires: it is canceled when there is something to send, or nobody to send it to
  boost::asio::steady_timer room;   // the same, when the source may take input
  bool fresh = true;
  bool client_gone = false;
  bool over = false;  // `source` may be gone
  int running = 0;    // directions beside the sending one
  void wake() {
    fresh = true;
    timer.cancel();
    room.cancel();
  }
};

inline boost::asio::awaitable<void> wait_for_cancel(boost::asio::steady_timer& timer) {
  timer.expires_at(boost::asio::steady_timer::time_point::max());
  boost::system::error_code woken;
  co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, woken));
}

template <class Stream>
boost::asio::awaitable<void> read_client(Stream& stream, Source& source, std::shared_ptr<SourceConnection> shared) {
  std::array<char, 16384> chunk{};
  boost::system::error_code error;
  while (!error) {
    while (!shared->over && !source.takes_input()) co_await wait_for_cancel(shared->room);
    if (shared->over) co_return;
    const std::size_t n = co_await stream.socket().async_read_some(boost::asio::buffer(chunk),
                                                                   boost::asio::redirect_error(boost::asio::use_awaitable, error));
    if (shared->over) co_return;
    if (n > 0) source.input({chunk.data(), n});
  }
  if (error == boost::asio::error::eof && source.input_ended()) co_return;
  shared->client_gone = true;
  shared->wake();
}

/// A client that is gone is noticed also while nothing is read from it.
template <class Stream>
boost::asio::awaitable<void> await_hangup(Stream& stream, std::shared_ptr<SourceConnection> shared) {
  boost::system::error_code error;
  co_await stream.socket().async_wait(boost::asio::socket_base::wait_error, boost::asio::redirect_error(boost::asio::use_awaitable, error));
  if (error) co_return;
  shared->client_gone = true;
  shared->wake();
}

/// Ends when the source does, or the client is gone. `buffer` holds what came with the request.
template <class Stream>
boost::asio::awaitable<void> serve_source(Stream& stream, boost::beast::flat_buffer& buffer, Source& source) {
  namespace asio = boost::asio;
  const auto executor = co_await asio::this_coro::executor;
  const auto shared = std::make_shared<SourceConnection>(executor);
  const auto wake = [shared, executor] { asio::post(executor, [shared] { shared->wake(); }); };
  source.on_change(wake);
  stream.expires_never();
  boost::system::error_code error;
  std::string text = source.head();
  const auto received = buffer.data();
  if (received.size() > 0) source.input({static_cast<const char*>(received.data()), received.size()});
  const auto ended = [shared](const std::exception_ptr&) {
    --shared->running;
    shared->timer.cancel();
  };
  shared->running = 2;
  asio::co_spawn(executor, read_client(stream, source, shared), ended);
  asio::co_spawn(executor, await_hangup(stream, shared), ended);
  while (!error && !shared->client_gone) {
    shared->fresh = false;
    text += source.next();
    if (!text.empty()) {
      co_await asio::async_write(stream.socket(), asio::buffer(text), asio::redirect_error(asio::use_awaitable, error));
      text.clear();
      continue;
    }
    if (source.ended()) break;
    if (shared->fresh) continue;
    co_await wait_for_cancel(shared->timer);
  }
  shared->over = true;
  shared->room.cancel();
  source.on_change({});
  boost::system::error_code ignored;
  stream.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  stream.socket().cancel(ignored);
  while (shared->running > 0) co_await wait_for_cancel(shared->timer);  // they refer to this frame
  source.closed();
}

}  // namespace tare::agent
