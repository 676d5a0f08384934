// SPDX-License-Identifier: Apache-2.0
#include "vm/connection.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <sys/prctl.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <map>
#include <utility>

#include "core/error.h"
#include "vm/kept.h"
#include "vm/orphan_reaper.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

// Each line with its reason. The embedded driver reads it from its own root, so nothing of the host's libvirt is changed.
constexpr std::string_view kQemuConf =
    "# Written by tare at every start.\n"
    "stdio_handler = \"file\"\n"           // there is no virtlogd
    "user = \"root\"\ngroup = \"root\"\n"  // tare-emulator needs them …
    "clear_emulator_capabilities = 0\n"    // … and gives them up
    "security_driver = \"none\"\n"
    "dynamic_ownership = 0\n"    // files are tare's own: no chown at every start …
    "remember_owner = 0\n"       // … and no extended attributes to remember it by
    "namespaces = []\n"          // libvirt's costs as much as QEMU's own start: tare-emulator makes one
    "cgroup_controllers = []\n"  // QEMU is born in the instance's control group
    // QEMU's own filter follows: the emulator is the wall between guest and host.
    "seccomp_sandbox = ";

// libvirt wants its event loop before the first connection; both last as long as the process.
class EventLoop {
 public:
  EventLoop() {
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});  // errors become tare::Error, not lines on stderr
    if (virEventRegisterDefaultImpl() < 0) throw Error(Code::unavailable, "libvirt: its event loop cannot be registered");
    timer_ = virEventAddTimeout(
        -1, [](int, void*) {}, nullptr, nullptr);
    thread_ = std::thread([this] {
      while (!stop_ && virEventRunDefaultImpl() == 0) continue;
    });
  }
  ~EventLoop() {
    stop_ = true;
    virEventUpdateTimeout(timer_, 0);  // wakes the loop
    thread_.join();
  }
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

 private:
  std::atomic<bool> stop_{false};
  int timer_ = -1;
  std::thread thread_;
};

void run_event_loop() { static EventLoop loop; }

std::string version_text(unsigned long version) {
  return std::to_string(version / 1'000'000) + "." + std::to_string(version / 1000 % 1000) + "." + std::to_string(version % 1000);
}

// The process whose command line has `start`, or `start,…`, as an argument: a libvirtd's pid files may be in another root than ours.
std::optional<int> process_with_argument(const std::string& start) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string line = '\0' + try_read_file(entry.path() / "cmdline").value_or("");
    const std::size_t at = line.find('\0' + start);
    if (at == std::string::npos) continue;
    const char next = at + 1 + start.size() < line.size() ? line[at + 1 + start.size()] : '\0';
    if (next == ',' || next == '\0') return std::stoi(pid);
  }
  return std::nullopt;
}

// Of a domain that lives on without an agent.
DriverRoot::Owner owner_of(const Paths& paths, const std::string& domain) {
  try {
    const bool ours = kept(paths.instances() / domain).run == fs::absolute(paths.run);
    return ours ? DriverRoot::Owner::us : DriverRoot::Owner::others;
  } catch (const Error&) {  // it is not kept
    return DriverRoot::Owner::nobody;
  }
}

}  // namespace

void throw_libvirt(const std::string& what) {
  const virError* error = virGetLastError();
  const std::string said = error != nullptr && error->message != nullptr ? error->message : "unknown error";
  const int number = error != nullptr ? error->code : VIR_ERR_INTERNAL_ERROR;
  const bool absent = number == VIR_ERR_NO_CONNECT || number == VIR_ERR_NO_SUPPORT;
  std::string hint = absent ? "apt-get install libvirt-daemon libvirt-daemon-driver-qemu qemu-system-x86" : "";
  // Debian's driver wants its user to exist even where another is configured; libvirt-daemon-system makes it.
  if (said.find("Failed to parse user") != std::string::npos) hint = "useradd --system --user-group --shell /usr/sbin/nologin libvirt-qemu";
  throw Error(absent || !hint.empty() ? Code::unavailable : Code::failed, what + ": libvirt: " + said.substr(0, said.find('\n')), hint);
}

void send_log_to_file(const Paths& paths) {
  ::setenv("LIBVIRT_LOG_OUTPUTS", ("3:file:" + (paths.state / "libvirt.log").string()).c_str(), 0);  // NOLINT(concurrency-mt-unsafe)
}

std::shared_ptr<Connection> Connection::open(const Paths& paths, const std::string& uri, Confinement confinement) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  fs::create_directories(paths.state);
  run_event_loop();  // before the table, so that it ends after the connections
  static std::map<std::pair<fs::path, std::string>, std::shared_ptr<Connection>> table;
  auto& entry = table[{uri.empty() ? paths.state : fs::path(), uri}];
  if (!entry) entry.reset(new Connection(paths, uri, confinement));
  return entry;
}

Connection::Connection(const Paths& paths, const std::string& uri, Confinement confinement) : embedded_(uri.empty()) {
  std::string target = uri;
  if (embedded_) {
    fs::create_directories(paths.state);
    root_ = DriverRoot::claim(paths, [&](const std::string& domain) { return owner_of(paths, domain); });
    fs::create_directories(root_->path() / "etc");
    write_file_atomic(root_->path() / "etc" / "qemu.conf",
                      std::string(kQemuConf) + (confinement == Confinement::hardened ? "1" : "0") + "\n");
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    target = "qemu:///embed?root=" + root_->path().string();
  }
  const OrphanReaper reaper(std::chrono::milliseconds(0));
  connect_.reset(virConnectOpen(target.c_str()));
  if (!connect_) throw_libvirt("connection to " + (embedded_ ? std::string("the embedded QEMU driver") : uri));
  callback_ = virConnectDomainEventRegisterAny(connect_.get(), nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                               VIR_DOMAIN_EVENT_CALLBACK(&Connection::lifecycle), this, nullptr);
  if (callback_ < 0) throw_libvirt("domain events");
  // Absent where the driver does not pass QEMU's events on: then nobody knows the moment.
  running_callback_ = virConnectDomainQemuMonitorEventRegister(connect_.get(), nullptr, "RESUME", &Connection::running, this, nullptr, 0);
}

Connection::~Connection() {
  {
    std::unique_lock lock(mutex_);
    fewer_.wait_for(lock, std::chrono::seconds(2), [this] { return watchers_.empty(); });
  }
  if (running_callback_ >= 0) virConnectDomainQemuMonitorEventDeregister(connect_.get(), running_callback_);
  if (callback_ >= 0) virConnectDomainEventDeregisterAny(connect_.get(), callback_);
}

std::string Connection::versions() const {
  const OrphanReaper reaper(std::chrono::milliseconds(0));  // the first question makes libvirt ask the emulator of every architecture
  unsigned long library = 0, hypervisor = 0;
  virConnectGetLibVersion(connect_.get(), &library);
  virConnectGetVersion(connect_.get(), &hypervisor);
  return "qemu " + version_text(hypervisor) + " via libvirt " + version_text(library);
}

void Connection::learn_capabilities(const std::string& emulator, const std::string& domain_type) {
  const OrphanReaper reaper(std::chrono::milliseconds(0));
  char* text = virConnectGetDomainCapabilities(connect_.get(), emulator.c_str(), "x86_64", nullptr, domain_type.c_str(), 0);
  if (text == nullptr) throw_libvirt("capabilities of " + emulator);
  ::free(text);  // NOLINT: libvirt allocates with malloc
}

Domain Connection::create(const std::string& xml, const std::string& name, bool stopped) {
  const OrphanReaper reaper(std::chrono::milliseconds(500));  // for a QEMU that was upgraded since, or that fails at once
  Domain domain(virDomainCreateXML(connect_.get(), xml.c_str(), stopped ? VIR_DOMAIN_START_PAUSED : VIR_DOMAIN_NONE));
  if (!domain) throw_libvirt("domain " + name);
  return domain;
}

std::string Connection::ask_monitor(virDomain* domain, const std::string& command, const std::string& name, int fd) {
  char* text = nullptr;
  const unsigned count = fd < 0 ? 0 : 1;
  if (virDomainQemuMonitorCommandWithFiles(domain, command.c_str(), count, &fd, nullptr, nullptr, &text, 0) < 0) throw_libvirt(name);
  std::string answer = text;
  ::free(text);  // NOLINT: libvirt allocates with malloc
  if (answer.find("\"error\":") != std::string::npos) throw Error(Code::failed, name + ": QEMU answered " + answer);
  return answer;
}

std::optional<int> Connection::emulator_pid(const std::string& name) const {
  if (!embedded_) return process_with_argument("guest=" + name);
  const auto pid = try_read_number(root_->path() / "run" / "qemu" / (name + ".pid"));
  if (!pid) return std::nullopt;
  return static_cast<int>(*pid);
}

void Connection::on_stopped(const std::string& name, std::function<void()> ended) {
  const std::lock_guard lock(mutex_);
  watchers_[name] = std::move(ended);
}

void Connection::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto watcher = watchers_.find(name);
  if (watcher != watchers_.end()) watcher->second = nullptr;
  running_since_.erase(name);
}

void Connection::never_started(const std::string& name) {
  remove_log(name);
  const std::lock_guard lock(mutex_);
  watchers_.erase(name);
  running_since_.erase(name);
}

Domain Connection::find(const std::string& name) { return Domain(virDomainLookupByName(connect_.get(), name.c_str())); }

void Connection::leave(const std::string& name) {
  const std::lock_guard lock(mutex_);
  watchers_.erase(name);
  running_since_.erase(name);
}

std::optional<Instant> Connection::running_since(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = running_since_.find(name);
  return found == running_since_.end() ? std::nullopt : std::optional(found->second);
}

// QEMU stamps its events with the wall clock.
void Connection::running(virConnectPtr, virDomainPtr domain, const char*, long long seconds, unsigned microseconds, const char*,
                         void* self) {
  timespec wall{};
  ::clock_gettime(CLOCK_REALTIME, &wall);
  const std::chrono::nanoseconds ago =
      std::chrono::seconds(wall.tv_sec - seconds) + std::chrono::nanoseconds(wall.tv_nsec) - std::chrono::microseconds(microseconds);
  const Instant at = Instant::now() + -ago;
  auto& connection = *static_cast<Connection*>(self);
  const std::lock_guard lock(connection.mutex_);
  const std::string name = virDomainGetName(domain);
  if (connection.watchers_.contains(name)) connection.running_since_.try_emplace(name, at);
}

int Connection::lifecycle(virConnectPtr, virDomainPtr domain, int event, int, void* self) {
  if (event == VIR_DOMAIN_EVENT_STOPPED) static_cast<Connection*>(self)->stopped(virDomainGetName(domain));
  return 0;
}

// What QEMU said while it started is in libvirt's error; afterwards nobody reads it.
void Connection::remove_log(const std::string& name) const {
  std::error_code ignored;
  if (root_) fs::remove(root_->path() / "log" / "qemu" / (name + ".log"), ignored);
}

void Connection::stopped(const std::string& name) {
  remove_log(name);
  // Under the lock, so that after forget() returned no call is under way.
  const std::lock_guard lock(mutex_);
  const auto watcher = watchers_.extract(name);
  if (watcher && watcher.mapped()) watcher.mapped()();
  fewer_.notify_all();
}

}  // namespace tare::vm
