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

/// What the two directions of one such connection share; both run on the server's one thread.
struct SourceConnection {
  explicit SourceConnection(const boost::asio::any_io_executor& executor) : timer(executor) {}
  boost::asio::steady_timer timer;  // never expires: it is canceled when there is something to send, or nobody to send it to
  bool fresh = true;
  bool client_gone = false;
};

template <class Stream>
boost::asio::awaitable<void> read_client(Stream& stream, Source& source, std::shared_ptr<SourceConnection> shared) {
  std::array<char, 16384> chunk{};
  boost::system::error_code error;
  while (!error) {
    const std::size_t n = co_await stream.socket().async_read_some(boost::asio::buffer(chunk),
                                                                   boost::asio::redirect_error(boost::asio::use_awaitable, error));
    if (error == boost::asio::error::operation_aborted) co_return;  // the other direction is done: `source` may be gone
    if (n > 0) source.input({chunk.data(), n});
  }
  shared->client_gone = true;
  shared->timer.cancel();
}

/// Ends when the source does, or the client is gone. `buffer` holds what came with the request.
template <class Stream>
boost::asio::awaitable<void> serve_source(Stream& stream, boost::beast::flat_buffer& buffer, Source& source) {
  namespace asio = boost::asio;
  const auto executor = co_await asio::this_coro::executor;
  const auto shared = std::make_shared<SourceConnection>(executor);
  const auto wake = [shared, executor] {
    asio::post(executor, [shared] {
      shared->fresh = true;
      shared->timer.cancel();
    });
  };
  source.on_change(wake);
  stream.expires_never();
  boost::system::error_code error;
  std::string text = source.head();
  const auto received = buffer.data();
  if (received.size() > 0) source.input({static_cast<const char*>(received.data()), received.size()});
  bool reading = true;
  asio::co_spawn(executor, read_client(stream, source, shared), [shared, &reading](const std::exception_ptr&) {
    reading = false;
    shared->timer.cancel();
  });
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
    shared->timer.expires_at(asio::steady_timer::time_point::max());
    boost::system::error_code woken;
    co_await shared->timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
  source.on_change({});
  boost::system::error_code ignored;
  stream.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  stream.socket().cancel(ignored);
  while (reading) {  // it refers to this frame
    shared->timer.expires_at(asio::steady_timer::time_point::max());
    boost::system::error_code woken;
    co_await shared->timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
  source.closed();
}

}  // namespace tare::agent
