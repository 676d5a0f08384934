// SPDX-License-Identifier: Apache-2.0
#include "agent/server.h"

#include <sys/stat.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <csignal>
#include <list>

#include "agent/journal.h"
#include "agent/source_stream.h"
#include "core/error.h"

namespace tare::agent {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;
using asio::use_awaitable;
using error_code = boost::system::error_code;

namespace {

constexpr std::uint64_t kMaxBody = 1 << 20;  // a suite is a few KiB
constexpr std::uint32_t kMaxHeader = 16 << 10;
constexpr auto kReadTimeout = std::chrono::seconds(30);
constexpr auto kWriteTimeout = std::chrono::seconds(30);
constexpr auto kHeartbeat = std::chrono::seconds(15);
constexpr int kEventBatch = 32;

using Message = http::request<http::string_body>;

Request translate(const Message& message, bool over_tcp) {
  const auto header = [&](auto field) {
    const auto found = message.find(field);
    return found == message.end() ? std::string() : std::string(found->value());
  };
  Request request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.body = message.body();
  request.accept = header(http::field::accept);
  request.last_event_id = header("Last-Event-ID");
  request.host = header(http::field::host);
  request.origin = header(http::field::origin);
  request.fetch_site = header("Sec-Fetch-Site");
  request.over_tcp = over_tcp;
  return request;
}

http::response<http::string_body> translate(const Response& response, const Message& request) {
  http::response<http::string_body> out(static_cast<http::status>(response.status), request.version());
  out.set(http::field::server, "tare");
  out.set(http::field::content_type, response.type);
  for (const auto& [key, value] : response.headers) out.set(key, value);
  out.keep_alive(request.keep_alive());
  out.body() = response.body;
  out.prepare_payload();
  return out;
}

const std::string kStreamHead =
    "HTTP/1.1 200 OK\r\nServer: tare\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";

}  // namespace

class Server::State {
 public:
  State(const ServerOptions& options, Api& api, Store& store, Runs& runs, EventHub& hub, Metrics& metrics)
      : options_(options), api_(api), store_(store), runs_(runs), hub_(hub), metrics_(metrics) {
    listen_unix();
    if (options_.tcp_port) listen_tcp(*options_.tcp_port);
    hub_.on_change([this] { asio::post(io_, [this] { wake_streams(); }); });
  }

  ~State() {
    hub_.on_change({});
    pool_.join();
    error_code ignored;
    acceptor_.close(ignored);
    std::error_code gone;
    std::filesystem::remove(options_.socket, gone);
  }

  void serve() {
    asio::signal_set signals(io_, SIGINT, SIGTERM);
    signals.async_wait([this](error_code error, int) {
      if (!error) io_.stop();
    });
    asio::posix::stream_descriptor lease(io_);
    char byte = 0;
    if (options_.lease_fd >= 0) {
      lease.assign(options_.lease_fd);
      // Nobody writes to it: any end of the read means that the holder is gone.
      asio::async_read(lease, asio::buffer(&byte, 1), [this](error_code, std::size_t) { io_.stop(); });
    }
    asio::co_spawn(io_, accept(std::move(acceptor_), false), asio::detached);
    if (tcp_) asio::co_spawn(io_, accept(*std::move(tcp_), true), asio::detached);
    io_.run();
    if (options_.lease_fd >= 0) lease.release();
  }

 private:
  using Unix = asio::local::stream_protocol;
  using Tcp = asio::ip::tcp;

  void listen_unix() {
    const std::string path = options_.socket.string();
    std::filesystem::create_directories(options_.socket.parent_path());
    try {
      const Unix::endpoint endpoint(path);
      error_code refused;
      Unix::socket probe(io_);
      if (probe.connect(endpoint, refused); !refused) {
        throw Error(Code::conflict, "another agent answers on " + path, "use it, or stop it first");
      }
      std::error_code gone;
      std::filesystem::remove(options_.socket, gone);  // left by an agent that was killed
      acceptor_.open();
      const mode_t before = ::umask(0117);  // 0660 from the first moment; no other thread makes files yet
      error_code error;
      acceptor_.bind(endpoint, error);
      ::umask(before);
      if (error) throw boost::system::system_error(error);
      acceptor_.listen();
    } catch (const boost::system::system_error& e) {
      throw Error(code_of_errno(e.code().value()), "listen on " + path + ": " + e.code().message(),
                  "run as root, or set TARE_RUN_DIR to a directory that you may write");
    }
  }

  void listen_tcp(std::uint16_t port) {
    const bool is_v6 = options_.tcp_address.find(':') != std::string::npos;
    const std::string address = is_v6 ? "[" + options_.tcp_address + "]" : options_.tcp_address;
    try {
      tcp_.emplace(io_);
      const Tcp::endpoint endpoint(asio::ip::make_address(options_.tcp_address), port);
      tcp_->open(endpoint.protocol());
      tcp_->set_option(asio::socket_base::reuse_address(true));
      tcp_->bind(endpoint);
      tcp_->listen();
      journal::info("listening on " + address + ":" + std::to_string(tcp_->local_endpoint().port()));
    } catch (const boost::system::system_error& e) {
      const bool not_ours = e.code().value() == EADDRNOTAVAIL;
      throw Error(code_of_errno(e.code().value()), "listen on " + address + ":" + std::to_string(port) + ": " + e.code().message(),
                  not_ours ? "set tcp_address in agent.yaml to an address of this host, or to 0.0.0.0"
                           : "set tcp_port in agent.yaml to a free port");
    }
  }

  template <class Acceptor>
  awaitable<void> accept(Acceptor acceptor, bool over_tcp) {
    using Stream = beast::basic_stream<typename Acceptor::protocol_type>;
    while (true) {
      error_code error;
      auto socket = co_await acceptor.async_accept(asio::redirect_error(use_awaitable, error));
      if (error) {
        // Out of descriptors: wait until a connection ends rather than spin.
        asio::steady_timer pause(io_, std::chrono::milliseconds(50));
        co_await pause.async_wait(use_awaitable);
        continue;
      }
      Stream stream(std::move(socket));
      asio::co_spawn(io_, session(std::move(stream), over_tcp), [](const std::exception_ptr&) {});
    }
  }

  awaitable<Response> on_pool(Request request) { co_return api_.handle(std::move(request)); }

  // One connection: requests one after the other. A connection that fails or sends no HTTP is closed; that is all it can do.
  template <class Stream>
  awaitable<void> session(Stream stream, bool over_tcp) {
    beast::flat_buffer buffer(kMaxHeader + kMaxBody);
    std::optional<std::string> lease;
    error_code error;
    while (true) {
      http::request_parser<http::string_body> parser;
      parser.body_limit(kMaxBody);
      parser.header_limit(kMaxHeader);
      if (lease) {
        stream.expires_never();  // a lease lasts as long as its connection
      } else {
        stream.expires_after(kReadTimeout);
      }
      co_await http::async_read(stream, buffer, parser, asio::redirect_error(use_awaitable, error));
      if (error) {
        if (!lease && error != http::error::end_of_stream && error != beast::error::timeout) {
          co_await refuse(stream, error);
        }
        break;
      }
      Request request = translate(parser.get(), over_tcp);
      Response response = co_await asio::co_spawn(pool_, on_pool(std::move(request)), use_awaitable);
      if (response.source) {
        co_await serve_source(stream, buffer, *response.source);
        break;
      }
      if (response.lease) lease = response.lease;
      if (response.stream) {
        co_await stream_or_refuse(stream, parser.get(), *response.stream);
        break;
      }
      stream.expires_after(kWriteTimeout);
      auto message = translate(response, parser.get());
      co_await http::async_write(stream, message, asio::redirect_error(use_awaitable, error));
      if (error || !message.keep_alive()) break;
    }
    if (lease) give_up(*lease);
  }

  template <class Stream>
  awaitable<void> refuse(Stream& stream, error_code why) {
    const bool large = why == http::error::body_limit || why == http::error::header_limit;
    Response response = error_response(Error(Code::invalid, "the request cannot be read: " + why.message(), ""));
    if (large) response.status = 413;
    Message unread;
    unread.version(11);
    auto message = translate(response, unread);
    message.keep_alive(false);
    stream.expires_after(kWriteTimeout);
    error_code ignored;
    co_await http::async_write(stream, message, asio::redirect_error(use_awaitable, ignored));
  }

  void give_up(const std::string& run) {
    if (runs_.active() != run) return;
    journal::warn("run " + run + ": its client is gone; canceling");
    try {
      runs_.cancel(run);
    } catch (const Error&) {  // it has ended in between
    }
  }

  template <class Stream>
  awaitable<void> stream_or_refuse(Stream& stream, const Message& request, EventStream events) {
    error_code error;
    if (streams_ >= options_.event_streams) {
      Response busy = error_response(Error(Code::unavailable, "all " + std::to_string(options_.event_streams) + " event streams are taken",
                                           "close one, or raise event_streams in agent.yaml"));
      auto message = translate(busy, request);
      stream.expires_after(kWriteTimeout);
      co_await http::async_write(stream, message, asio::redirect_error(use_awaitable, error));
      co_return;
    }
    metrics_.set_event_streams(++streams_);
    try {
      co_await stream_events(stream, std::move(events));  // NOLINT(bugprone-use-after-move): version 14 takes a coroutine for a loop
    } catch (const std::exception& e) {
      journal::warn(std::string("event stream: ") + e.what());
    }
    metrics_.set_event_streams(--streams_);
  }

  // What is new since `events.after`; true in `ended` once the last event is in it.
  std::string next_messages(EventStream& events, std::uint64_t& seen, bool& ended) {
    std::string out;
    for (const StoredEvent& event : store_.events(events.run, events.after, kEventBatch)) {
      std::string data = event.data;
      if (event.trial != 0) data = with_samples(events.run, event);
      out += sse_message(event.id, event.kind, data);
      events.after = event.id;
      ended = ended || event.kind == "finished";
    }
    const EventHub::Progress progress = hub_.progress();
    if (out.empty() && progress.run == events.run && progress.number != seen) {
      seen = progress.number;
      const bool lost = progress.json.starts_with("{\"finished\"");
      out = sse_message(0, lost ? "lost" : "progress", progress.json);
      ended = ended || lost;
    }
    return out;
  }

  // The samples travel as lines of samples.csv, so that the client writes what it got.
  std::string with_samples(const std::string& run, const StoredEvent& event) {
    std::string csv;
    for (const bench::Sample& sample : store_.samples(run, event.trial)) csv += bench::csv_line(sample);
    return event.data + "\n" + csv.substr(0, csv.empty() ? 0 : csv.size() - 1);
  }

  template <class Stream>
  awaitable<void> stream_events(Stream& stream, EventStream events) {
    error_code error;
    stream.expires_after(kWriteTimeout);
    co_await asio::async_write(stream, asio::buffer(kStreamHead), asio::redirect_error(use_awaitable, error));
    asio::steady_timer timer(io_);
    const auto place = waiting_.insert(waiting_.end(), &timer);
    std::uint64_t seen = 0;
    bool ended = false;
    while (!error && !ended) {
      const std::uint64_t version = version_;
      std::string text = next_messages(events, seen, ended);
      if (text.empty() && version == version_) {
        timer.expires_after(kHeartbeat);
        error_code woken;
        co_await timer.async_wait(asio::redirect_error(use_awaitable, woken));
        if (woken) continue;  // something new
        text = ": still here\n\n";
      }
      stream.expires_after(kWriteTimeout);
      co_await asio::async_write(stream, asio::buffer(text), asio::redirect_error(use_awaitable, error));
    }
    waiting_.erase(place);
  }

  void wake_streams() {
    ++version_;
    for (asio::steady_timer* timer : waiting_) timer->cancel();
  }

  const ServerOptions options_;
  Api& api_;
  Store& store_;
  Runs& runs_;
  EventHub& hub_;
  Metrics& metrics_;
  asio::io_context io_{1};
  asio::thread_pool pool_{4};
  Unix::acceptor acceptor_{io_};
  std::optional<Tcp::acceptor> tcp_;
  std::list<asio::steady_timer*> waiting_;  // of the open streams; touched on the io thread alone
  std::uint64_t version_ = 0;               // of what the streams can see
  int streams_ = 0;
};

Server::Server(const ServerOptions& options, Api& api, Store& store, Runs& runs, EventHub& hub, Metrics& metrics)
    : state_(std::make_unique<State>(options, api, store, runs, hub, metrics)) {}
Server::~Server() = default;
void Server::run() { state_->serve(); }

}  // namespace tare::agent
