// SPDX-License-Identifier: Apache-2.0
#include "container/protocol.h"

#include <cstring>
#include <type_traits>

namespace tare::container {
namespace {

template <typename T>
concept Number = std::is_arithmetic_v<T>;

class Writer {
 public:
  explicit Writer(Kind kind) { out_.push_back(static_cast<char>(kind)); }
  template <Number T>
  void operator()(const T& value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void operator()(const std::string& text) {
    (*this)(static_cast<std::uint32_t>(text.size()));
    out_ += text;
  }
  void operator()(const Blob& blob) { (*this)(blob.bytes); }
  template <typename T>
  void operator()(const std::vector<T>& list) {
    (*this)(static_cast<std::uint32_t>(list.size()));
    for (const T& item : list) (*this)(item);
  }
  template <typename T>
  void operator()(const std::optional<T>& value) {
    (*this)(value.has_value());
    if (value) (*this)(*value);
  }
  template <typename T>
  requires std::is_class_v<T>
  void operator()(const T& value) { visit(value, *this); }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  Reader(std::string_view bytes, Kind kind) : rest_(bytes), good_(kind_of(bytes) == kind) {
    if (good_) rest_.remove_prefix(1);
  }
  template <Number T>
  void operator()(T& value) {
    if (!have(sizeof value)) return;
    if constexpr (std::is_same_v<T, bool>) {
      good_ = rest_[0] == 0 || rest_[0] == 1;
      value = rest_[0] == 1;
    } else {
      std::memcpy(&value, rest_.data(), sizeof value);
    }
    rest_.remove_prefix(sizeof value);
  }
  void operator()(std::string& text) {
    take(text);
    good_ = good_ && text.find('\0') == std::string::npos;  // every text becomes a C string
  }
  void operator()(Blob& blob) { take(blob.bytes); }
  template <typename T>
  void operator()(std::vector<T>& list) {
    const std::uint32_t size = count();
    if (!have(size)) return;  // each item takes at least one byte
    list.clear();
    for (std::uint32_t i = 0; i < size && good_; ++i) (*this)(list.emplace_back());
  }
  template <typename T>
  void operator()(std::optional<T>& value) {
    bool present = false;
    (*this)(present);
    if (good_ && present) (*this)(value.emplace());
  }
  template <typename T>
  requires std::is_class_v<T>
  void operator()(T& value) { visit(value, *this); }
  bool finished() const { return good_ && rest_.empty(); }

 private:
  void take(std::string& text) {
    const std::uint32_t size = count();
    if (!have(size)) return;
    text.assign(rest_.substr(0, size));
    rest_.remove_prefix(size);
  }
  std::uint32_t count() {
    std::uint32_t value = 0;
    (*this)(value);
    return value;
  }
  bool have(std::size_t size) {
    if (rest_.size() < size) good_ = false;
    return good_;
  }
  std::string_view rest_;
  bool good_;
};

// One field list per message, walked by the writer (const) and by the reader.
template <typename T, typename Base>
concept Same = std::is_same_v<std::remove_const_t<T>, Base>;

void visit(Same<Isolation> auto& m, auto& field) {
  field(m.pid), field(m.ipc), field(m.uts), field(m.net), field(m.cgroup), field(m.time), field(m.first_id), field(m.own_kernel_views),
      field(m.capabilities);
  field(m.no_new_privileges), field(m.seccomp), field(m.own_keyring), field(m.masked), field(m.read_only), field(m.device_list);
}
void visit(Same<MountStep> auto& m, auto& field) {
  field(m.type), field(m.source), field(m.target), field(m.flags), field(m.options), field(m.tree);
}
void visit(Same<DeviceNode> auto& m, auto& field) {
  field(m.path), field(m.mode), field(m.major), field(m.minor), field(m.uid), field(m.gid);
}
void visit(Same<MountPlan> auto& m, auto& field) {
  field(m.views), field(m.devices), field(m.device_links), field(m.mounts), field(m.read_only_root);
}
void visit(Same<ResourceLimit> auto& m, auto& field) { field(m.resource), field(m.soft), field(m.hard); }
void visit(Same<ProcessAttributes> auto& m, auto& field) { field(m.uid), field(m.gid), field(m.groups), field(m.umask), field(m.limits); }
void visit(Same<Plan> auto& m, auto& field) {
  field(m.key), field(m.join), field(m.program), field(m.arguments), field(m.environment), field(m.working_directory);
  field(m.hostname), field(m.root), field(m.log), field(m.log_max_size), field(m.log_max_files);
  field(m.open_stdin), field(m.tty), field(m.rows), field(m.columns), field(m.init);
  visit(m.isolation, field);
  visit(m.mounts, field);
  visit(m.attributes, field);
}
void visit(Same<StartRequest> auto& m, auto& field) {
  field(m.request), field(m.tasks), field(m.trees), field(m.cgroup_directory), field(m.netns), field(m.userns), field(m.root);
  field(m.seccomp), field(m.streams), field(m.park);
  visit(m.plan, field);
}
void visit(Same<Go> auto& m, auto& field) { field(m.request), field(m.key); }
void visit(Same<SignalRequest> auto& m, auto& field) { field(m.request), field(m.key), field(m.number); }
void visit(Same<Forget> auto& m, auto& field) { field(m.key); }
void visit(Same<Ended> auto& m, auto& field) {
  field(m.key), field(m.wait_status), field(m.at), field(m.switches_voluntary), field(m.switches_involuntary);
  field(m.log_size), field(m.log_open), field(m.log_lost);
}
void visit(Same<Known> auto& m, auto& field) {
  field(m.key), field(m.pid), field(m.launched), field(m.executed), field(m.log), field(m.log_size), field(m.log_open);
  field(m.input_received), field(m.input_taken), field(m.input_open), field(m.ended);
}
void visit(Same<Hello> auto& m, auto& field) { field(m.version), field(m.pid), field(m.known); }
void visit(Same<Started> auto& m, auto& field) { field(m.request), field(m.pid), field(m.launched), field(m.executed); }
void visit(Same<Refused> auto& m, auto& field) { field(m.request), field(m.step), field(m.error), field(m.detail); }
void visit(Same<Done> auto& m, auto& field) { field(m.request); }
void visit(Same<LogRead> auto& m, auto& field) { field(m.key), field(m.position); }
void visit(Same<Feed> auto& m, auto& field) { field(m.key), field(m.bytes), field(m.end); }
void visit(Same<Fed> auto& m, auto& field) { field(m.key), field(m.taken), field(m.open); }
void visit(Same<Resize> auto& m, auto& field) { field(m.key), field(m.rows), field(m.columns); }
void visit(Same<LogGrew> auto& m, auto& field) { field(m.key), field(m.size), field(m.closed); }

template <typename T>
std::string write(Kind kind, const T& message) {
  Writer writer(kind);
  visit(message, writer);
  return writer.take();
}

template <typename T>
bool read(Kind kind, std::string_view bytes, T& message) {
  Reader reader(bytes, kind);
  visit(message, reader);
  return reader.finished();
}

}  // namespace

std::optional<Kind> kind_of(std::string_view message) {
  if (message.empty()) return std::nullopt;
  const auto first = static_cast<std::uint8_t>(message[0]);
  if (first < static_cast<std::uint8_t>(Kind::start) || first > static_cast<std::uint8_t>(Kind::go)) return std::nullopt;
  return static_cast<Kind>(first);
}

std::optional<StartOfHello> decode_start_of_hello(std::string_view bytes) {
  StartOfHello start;
  if (kind_of(bytes) != Kind::hello || bytes.size() < 1 + sizeof start.version + sizeof start.pid) return std::nullopt;
  std::memcpy(&start.version, bytes.data() + 1, sizeof start.version);
  std::memcpy(&start.pid, bytes.data() + 1 + sizeof start.version, sizeof start.pid);
  return start;
}

std::string encode(const StartRequest& message) { return write(Kind::start, message); }
std::string encode(const Go& message) { return write(Kind::go, message); }
std::string encode(const SignalRequest& message) { return write(Kind::signal, message); }
std::string encode(const Forget& message) { return write(Kind::forget, message); }
std::string encode(const Hello& message) { return write(Kind::hello, message); }
std::string encode(const Started& message) { return write(Kind::started, message); }
std::string encode(const Refused& message) { return write(Kind::refused, message); }
std::string encode(const Done& message) { return write(Kind::done, message); }
std::string encode(const LogGrew& message) { return write(Kind::log, message); }
std::string encode(const LogRead& message) { return write(Kind::log_read, message); }
std::string encode(const Feed& message) { return write(Kind::feed, message); }
std::string encode(const Fed& message) { return write(Kind::fed, message); }
std::string encode(const Resize& message) { return write(Kind::resize, message); }
std::string encode(const Ended& message) { return write(Kind::exited, message); }

bool decode(std::string_view bytes, StartRequest& message) {
  return read(Kind::start, bytes, message) && message.tasks <= kMostDescriptors && message.descriptors() <= kMostDescriptors;
}
bool decode(std::string_view bytes, Go& message) { return read(Kind::go, bytes, message); }
bool decode(std::string_view bytes, SignalRequest& message) { return read(Kind::signal, bytes, message); }
bool decode(std::string_view bytes, Forget& message) { return read(Kind::forget, bytes, message); }
bool decode(std::string_view bytes, Hello& message) { return read(Kind::hello, bytes, message); }
bool decode(std::string_view bytes, Started& message) { return read(Kind::started, bytes, message); }
bool decode(std::string_view bytes, Refused& message) { return read(Kind::refused, bytes, message); }
bool decode(std::string_view bytes, Done& message) { return read(Kind::done, bytes, message); }
bool decode(std::string_view bytes, LogGrew& message) { return read(Kind::log, bytes, message); }
bool decode(std::string_view bytes, LogRead& message) { return read(Kind::log_read, bytes, message); }
bool decode(std::string_view bytes, Feed& message) { return read(Kind::feed, bytes, message); }
bool decode(std::string_view bytes, Fed& message) { return read(Kind::fed, bytes, message); }
bool decode(std::string_view bytes, Resize& message) { return read(Kind::resize, bytes, message); }
bool decode(std::string_view bytes, Ended& message) { return read(Kind::exited, bytes, message); }

}  // namespace tare::container
