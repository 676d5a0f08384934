// SPDX-License-Identifier: Apache-2.0
#include "core/link_removal.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <iterator>
#include <list>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/rtnl.h"

namespace tare::rtnl {
namespace {

constexpr std::uint32_t kDoomed = 0x74617265;  // "tare": a group of interfaces that is removed as soon as it has members

// The kernel waits in each removal, but only once for all interfaces of one group.
std::vector<Message> removal_of(const std::vector<std::string>& names) {
  std::vector<Message> messages;
  if (names.size() == 1) {
    messages.emplace_back(RTM_DELLINK, 0, ifinfomsg{}, "remove interface " + names[0]);
    messages.back().unless(ENODEV).text(IFLA_IFNAME, names[0]);
    return messages;
  }
  std::string all;
  for (const std::string& name : names) {
    messages.emplace_back(RTM_SETLINK, 0, ifinfomsg{}, "mark " + name + " for its removal");
    messages.back().unless(ENODEV).text(IFLA_IFNAME, name).number(IFLA_GROUP, kDoomed);
    all += (all.empty() ? "" : ", ") + name;
  }
  messages.emplace_back(RTM_DELLINK, 0, ifinfomsg{}, "remove interfaces " + all);
  messages.back().unless(ENODEV).number(IFLA_GROUP, kDoomed);
  return messages;
}

/// Told of each interface that comes, changes or goes.
Fd open_watch() {
  Fd fd = open_socket();
  sockaddr_nl us{};
  us.nl_family = AF_NETLINK;
  us.nl_groups = RTMGRP_LINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&us), sizeof us) != 0) throw_errno("watch interfaces");
  return fd;
}

/// A request under way, until the kernel answers.
struct Removal {
  Removal() : answer(::eventfd(0, EFD_CLOEXEC)) {
    if (!answer) throw_errno("eventfd");
  }
  Fd answer;  // readable when it came
  std::exception_ptr failure;
  std::atomic<bool> answered = false;
  std::jthread thread;
};

/// Those of this process; the end of the process waits for them.
class Removals {
 public:
  std::shared_ptr<Removal> start(const std::vector<std::string>& names) {
    auto removal = std::make_shared<Removal>();
    auto socket = std::make_shared<Socket>();  // in the caller's network namespace
    removal->thread = std::jthread([removal = removal.get(), socket, messages = removal_of(names)] {
      try {
        socket->send(messages);
      } catch (...) {
        removal->failure = std::current_exception();
      }
      removal->answered = true;
      ::eventfd_write(removal->answer.get(), 1);
    });
    const std::lock_guard lock(mutex_);
    under_way_.remove_if([](const auto& other) { return other->answered.load(); });
    under_way_.push_back(removal);
    return removal;
  }
  void await() {
    std::list<std::shared_ptr<Removal>> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(under_way_);
    }
    for (const auto& removal : all) removal->thread.join();
  }

 private:
  std::mutex mutex_;
  std::list<std::shared_ptr<Removal>> under_way_;
};

Removals& removals() {
  static Removals all;
  return all;
}

// What it says does not matter, nor whether some of it was lost (ENOBUFS): somebody looks again.
void drain(int watch) {
  char buffer[4096];
  while (::recv(watch, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == EINTR) {
  }
}

}  // namespace

void remove_links(const std::vector<std::string>& names) {
  // Not by netlink, which would wait for the lock that a removal holds.
  const auto is_there = [](const std::string& name) { return ::if_nametoindex(name.c_str()) != 0; };
  std::vector<std::string> present;
  std::copy_if(names.begin(), names.end(), std::back_inserter(present), is_there);
  if (present.empty()) return;
  const Fd watch = open_watch();
  const auto removal = removals().start(present);
  // Its directory in sysfs goes a moment after its name, and nobody is told of that.
  const auto in_sysfs = [](const std::string& name) { return ::access(("/sys/class/net/" + name).c_str(), F_OK) == 0; };
  while (!removal->answered) {
    const bool named = std::any_of(present.begin(), present.end(), is_there);
    if (!named && std::none_of(present.begin(), present.end(), in_sysfs)) break;
    pollfd events[2] = {{watch.get(), POLLIN, 0}, {removal->answer.get(), POLLIN, 0}};
    const timespec soon{0, 100'000};
    ::ppoll(events, 2, named ? nullptr : &soon, nullptr);
    if ((events[0].revents & POLLIN) != 0) drain(watch.get());
  }
  if (removal->answered && removal->failure) std::rethrow_exception(removal->failure);
}

void await_removals() { removals().await(); }

}  // namespace tare::rtnl
