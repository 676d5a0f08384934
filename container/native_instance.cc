// SPDX-License-Identifier: Apache-2.0
#include "container/native_instance.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <thread>

#include "container/attributes.h"
#include "container/native_exec.h"
#include "container/seccomp_program.h"
#include "core/error.h"
#include "core/files.h"
#include "core/link_removal.h"
#include "image/user.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;

/// Nothing when the link is gone: that of an adopted instance ends with its process.
std::optional<netlink::Counters> counters_of(const std::string& interface) {
  try {
    return netlink::counters(interface);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

Fd become_network_namespace(Fd made) {
  if ((made ? ::setns(made.get(), CLONE_NEWNET) : ::unshare(CLONE_NEWNET)) != 0) throw_errno("network namespace", "run tare as root");
  netlink::set_loopback_up();
  if (made) return made;
  return open_file("/proc/thread-self/ns/net", O_RDONLY);
}

Fd make_network_namespace() {
  const Fd before = open_file("/proc/thread-self/ns/net", O_RDONLY);
  if (::unshare(CLONE_NEWNET) != 0) throw_errno("network namespace", "run tare as root");
  Fd made = open_file("/proc/thread-self/ns/net", O_RDONLY);
  if (::setns(before.get(), CLONE_NEWNET) != 0) throw_errno("leave a network namespace");
  return made;
}

Fd new_network_namespace(Fd made) {
  Fd fd;
  std::exception_ptr failure;
  std::thread([&] {
    try {
      fd = become_network_namespace(std::move(made));
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return fd;
}

InstanceLink::InstanceLink(const std::string& instance_id, const std::string& lock_file, Fd netns)
    : host_name_(netlink::interface_name(instance_id, 'h')), netns_(new_network_namespace(std::move(netns))) {
  netlink::create_veth(host_name_, "eth0", netns_.get());
  try {
    subnet_ = netlink::claim_subnet(host_name_, lock_file);
    netlink::configure_instance_end("eth0", subnet_, netns_.get());
  } catch (...) {
    remove();
    throw;
  }
}

InstanceLink::InstanceLink(const std::string& instance_id, netlink::Subnet subnet)
    : host_name_(netlink::interface_name(instance_id, 'h')), subnet_(std::move(subnet)) {}

InstanceLink::~InstanceLink() {
  if (left_) return;
  try {
    remove();
  } catch (const std::exception&) {  // NOLINT: a destructor; the interface dies with its namespace at the latest
  }
}

// Explicitly, not by the namespace's death: the kernel clears dead namespaces some time later.
void InstanceLink::remove() { rtnl::remove_links({host_name_}); }

NativeInstance::NativeInstance(std::string id, std::string who, std::string address, Plan plan, NativeResources resources,
                               std::shared_ptr<NativeProcess> process, Timeline& timeline)
    : id_(std::move(id)),
      who_(std::move(who)),
      address_(std::move(address)),
      started_as_(resources.started_as),
      plan_(std::move(plan)),
      timeline_(timeline),
      launcher_(resources.launcher),
      resources_(std::move(resources)),
      process_(std::move(process)) {
  if (resources_->group->frozen()) state_ = State::paused;
  process_->on_end([this](const End& end) { has_ended(end); });
}

void NativeInstance::leave() {
  const std::lock_guard change(change_mutex_);
  process_->on_end({});  // what happens from now on is the next agent's to notice
  std::set<std::string> execs;
  {
    const std::lock_guard lock(mutex_);
    execs = execs_;
  }
  for (const std::string& key : execs) {  // their output has no reader any more
    try {
      launcher_->signal(key, SIGKILL);
    } catch (const Error&) {  // NOLINT: it has ended
    }
  }
  const std::lock_guard lock(mutex_);
  if (!resources_) return;
  resources_->group->leave();
  if (resources_->link) resources_->link->leave();
  if (resources_->place) resources_->place->leave_behind();
  if (resources_->ids) resources_->ids->leave();
  resources_->directory.release();
  left_ = true;
}

NativeInstance::~NativeInstance() {
  try {
    if (!left_) remove();
  } catch (const std::exception&) {  // NOLINT: a destructor; the next agent's search for orphans finds what stayed
  }
  process_->on_end({});
}

// On the launcher's reader thread.
void NativeInstance::has_ended(const End& end) {
  timeline_.mark(Mark::exited, end.at);
  State running = State::running;
  if (!state_.compare_exchange_strong(running, State::exited) && running == State::paused) state_ = State::exited;
  const std::lock_guard lock(mutex_);
  if (!resources_ || !resources_->group) return;
  // An instance ends with its first process. A PID namespace and a guest's kernel see to that; metal has neither.
  // Nor does anything where its launcher is gone.
  if (!plan_.isolation.pid || !end.known) resources_->group->kill_all(Deadline::in(1s));
  // The kernel may have chosen a child, and the first process failed for it: a shell ends with its child's code.
  const bool by_kernel = end.exit.signaled ? end.exit.code == SIGKILL && !killed_ : end.exit.code != 0 && !asked_;
  if (by_kernel) oom_ = resources_->group->usage().oom_kills.value_or(0) > 0;
}

Exit NativeInstance::exit_of(const End& end) const {
  Exit exit = end.exit;
  exit.oom = oom_;
  return exit;
}

Usage NativeInstance::usage() const {
  // Before our lock is taken: the process holds its own when it calls has_ended().
  const auto end = state_ == State::exited ? process_->ending() : std::nullopt;
  const std::lock_guard lock(mutex_);
  if (!resources_ || !resources_->group) return last_usage_;
  Usage usage = resources_->group->usage();
  if (resources_->link || resources_->place) {
    // The host's end sends what the workload receives.
    if (const auto counters = counters_of(resources_->link ? resources_->link->host_name() : resources_->place->place().interface)) {
      usage.network_receive = Bytes{counters->transmitted};
      usage.network_transmit = Bytes{counters->received};
    }
  }
  if (end) {
    usage.switches_voluntary = usage.switches_voluntary.value_or(0) + end->switches_voluntary;
    usage.switches_involuntary = usage.switches_involuntary.value_or(0) + end->switches_involuntary;
  }
  return usage;
}

std::map<std::string, std::string> NativeInstance::protections() const {
  auto all = plan_.isolation.protections();
  all["user"] = text_of_user(plan_.attributes);
  const std::lock_guard lock(mutex_);
  if (resources_ && resources_->place) all.merge(bridge::description(resources_->place->place()));
  if (resources_ && !resources_->resolver_note.empty()) all["name_servers"] = resources_->resolver_note;
  return all;
}

std::optional<Exit> NativeInstance::wait(Deadline deadline) {
  const auto end = process_->wait(deadline);
  return end ? std::optional(exit_of(*end)) : std::nullopt;
}

void NativeInstance::signal(int number) {
  if (state_ == State::exited || state_ == State::removed) throw Error(Code::conflict, who_ + " has ended already");
  asked_ = true;
  if (number == SIGKILL) killed_ = true;
  launcher_->signal(id_, number);
}

void NativeInstance::pause() {
  const std::lock_guard change(change_mutex_);
  if (state_ != State::running) throw Error(Code::conflict, who_ + " is not running");
  resources_->group->freeze();
  State running = State::running;
  state_.compare_exchange_strong(running, State::paused);
}

void NativeInstance::resume() {
  const std::lock_guard change(change_mutex_);
  if (state_ != State::paused) throw Error(Code::conflict, who_ + " is not paused");
  resources_->group->thaw();
  State paused = State::paused;
  state_.compare_exchange_strong(paused, State::running);
}

void NativeInstance::update(const Limits& limits) {
  const std::lock_guard change(change_mutex_);
  if (state_ != State::running && state_ != State::paused) throw Error(Code::conflict, who_ + " has ended already");
  const std::lock_guard lock(mutex_);
  try {
    resources_->group->update(limits);
  } catch (const Error& error) {
    throw Error(error.code(), who_ + ": " + error.sentence(), error.hint());
  }
}

// Copies of our own: remove() on another thread closes the group's.
NativeInstance::GroupFds NativeInstance::group_fds() const {
  const std::lock_guard lock(mutex_);
  if (!resources_ || !resources_->group) throw Error(Code::conflict, who_ + " is being removed");
  GroupFds copies;
  for (const int fd : resources_->group->tasks_fds()) copies.tasks.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (resources_->group->directory_fd() >= 0) copies.directory = Fd(::fcntl(resources_->group->directory_fd(), F_DUPFD_CLOEXEC, 0));
  return copies;
}

/// Noted as long as it lives, so that leave() can end it.
class NativeInstance::RunningExec {
 public:
  RunningExec(NativeInstance& instance, const std::string& key) : instance_(instance), key_(key) {
    const std::lock_guard lock(instance_.mutex_);
    instance_.execs_.insert(key_);
  }
  RunningExec(const RunningExec&) = delete;
  RunningExec& operator=(const RunningExec&) = delete;
  ~RunningExec() {
    const std::lock_guard lock(instance_.mutex_);
    instance_.execs_.erase(key_);
  }

 private:
  NativeInstance& instance_;
  const std::string key_;
};

Plan NativeInstance::plan_of(const ExecRequest& request) {
  Plan plan = plan_;
  plan.key = id_ + "/exec-" + std::to_string(next_exec_++);
  plan.join = id_;
  plan.arguments = request.command;
  plan.program = request.command[0];
  plan.log.clear();
  plan.open_stdin = request.open_stdin;
  plan.tty = request.tty;
  plan.rows = request.terminal.rows;
  plan.columns = request.terminal.columns;
  plan.init = false;
  if (!request.working_directory.empty()) plan.working_directory = request.working_directory;
  const auto set = [&](const std::string& entry) {
    std::erase_if(plan.environment,
                  [&](const std::string& old) { return old.substr(0, old.find('=')) == entry.substr(0, entry.find('=')); });
    plan.environment.push_back(entry);
  };
  if (request.tty) set("TERM=xterm");
  if (!request.user.empty()) {  // as its files are now: the image may have got users since
    const image::User user = image::resolve_user({"/proc/" + std::to_string(process_->pid()) + "/root"}, request.user);
    plan.attributes.uid = user.uid;
    plan.attributes.gid = user.gid;
    plan.attributes.groups = user.groups;
    set("HOME=" + (user.home.empty() ? "/" : user.home));
  }
  for (const std::string& entry : request.environment) set(entry);
  return plan;
}

std::unique_ptr<Exec> NativeInstance::start_exec(const ExecRequest& request, Deadline deadline) {
  if (request.command.empty()) throw Error(Code::invalid, who_ + ": exec without a command");
  if (state_ != State::running) throw Error(Code::conflict, who_ + " is not running");
  const Plan plan = plan_of(request);
  ExecStreams streams(request);
  const GroupFds group = group_fds();
  PlanFds fds;
  for (const Fd& task : group.tasks) fds.tasks.push_back(task.get());
  fds.cgroup_directory = group.directory.get();
  fds.seccomp = seccomp_file(plan.isolation);
  streams.give(fds);
  auto running = std::make_shared<RunningExec>(*this, plan.key);
  auto process = launcher_->start(plan, fds, who_ + ": exec", deadline);
  try {
    streams.started(who_ + ": exec");
  } catch (const Error&) {
    launcher_->signal(plan.key, SIGKILL);
    launcher_->forget(plan.key);
    throw;
  }
  return std::make_unique<NativeExec>(who_ + ": exec", launcher_, std::move(process), std::move(streams), plan.tty || plan.open_stdin,
                                      std::move(running));
}

Exit NativeInstance::stop(std::chrono::nanoseconds grace) {
  const std::lock_guard change(change_mutex_);
  timeline_.mark(Mark::stopping);
  const State before = state_;
  if (before == State::paused) resources_->group->thaw();
  if (before == State::running || before == State::paused) {
    asked_ = true;
    try {
      launcher_->signal(id_, SIGTERM);
    } catch (const Error& error) {
      if (error.code() != Code::conflict) throw;  // it ended by itself in between
    }
    if (!process_->wait(Deadline::in(grace))) killed_ = true;
  }
  if (resources_ && resources_->group && !resources_->group->kill_all(Deadline::in(10s))) {
    throw Error(Code::timeout, who_ + ": its processes do not die", "look at their state with: ps -o pid,stat,wchan,args");
  }
  const auto end = process_->wait(Deadline::in(10s));
  if (!end) throw Error(Code::timeout, who_ + ": killed, but the launcher does not report its end");
  return exit_of(*end);
}

void NativeInstance::remove() {
  const std::lock_guard change(change_mutex_);
  if (state_ == State::removed) return;
  killed_ = true;
  if (resources_->group) {
    if (!resources_->group->kill_all(Deadline::in(10s))) {
      throw Error(Code::timeout, who_ + ": its processes do not die", "look at their state with: ps -o pid,stat,wchan,args");
    }
    try {
      process_->wait(Deadline::in(10s));
      last_usage_ = usage();
    } catch (const Error&) {  // NOLINT: the launcher is gone; what it started is killed all the same
    }
  }
  remove_all();
}

// What a first call could not remove, a second one tries again: every step leaves out what is gone already.
void NativeInstance::remove_all() {
  launcher_->forget(id_);
  process_->finish_log();
  const std::lock_guard lock(mutex_);
  const auto after = std::move(resources_->after);  // not before `removed` is marked
  const Fd root = std::move(resources_->root);
  if (resources_->link) resources_->link->remove();
  resources_->link.reset();
  if (resources_->place) resources_->place->remove();
  resources_->place.reset();
  resources_->group.reset();
  resources_->ids.reset();
  resources_->directory.remove();
  resources_.reset();
  state_ = State::removed;
  timeline_.mark(Mark::removed);
}

}  // namespace tare::container
