// SPDX-License-Identifier: Apache-2.0
#include "agent/private_agent.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "core/error.h"
#include "core/files.h"

namespace tare::agent {
namespace {

constexpr auto kStartWithin = std::chrono::seconds(30);
constexpr auto kEndWithin = std::chrono::seconds(60);  // a run's clean-up stops a VM, with its grace

// The light program `tare` has the whole one beside it; any other is whole itself.
std::string agent_program() {
  std::error_code ignored;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return own.filename() == "tare" ? own.parent_path() / "tare-agent" : std::filesystem::path("/proc/self/exe");
}

}  // namespace

AgentSession::AgentSession(const Paths& paths, const std::optional<std::filesystem::path>& config) {
  client_.emplace(paths.socket());
  if (client_->answers()) return;
  try {
    start(paths, config);
  } catch (const Error&) {  // no destructor runs for what was not constructed
    end();
    throw;
  }
}

void AgentSession::start(const Paths& paths, const std::optional<std::filesystem::path>& config) {
  directory_ = paths.run / ("private-" + std::to_string(::getpid()));
  remove_tree(directory_);  // of a process that had our id before
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (!error) std::filesystem::permissions(directory_, std::filesystem::perms::owner_all, error);
  if (error) {
    throw Error(Code::unsuited, "make directory " + directory_.string() + ": " + error.message(),
                "run as root, or set TARE_RUN_DIR to a directory that you may write");
  }
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw_errno("make a pipe");
  const Fd far(pipe[0]);
  lease_ = Fd(pipe[1]);
  Child::Options options;
  options.argv = {agent_program(), "agent", "--private", directory_.string()};
  if (config) options.argv.insert(options.argv.end(), {"--config", config->string()});
  options.stdin_fd = far.get();
  options.stdout_fd = STDERR_FILENO;
  options.stderr_fd = STDERR_FILENO;
  options.new_session = true;  // Ctrl-C is for the verb; the agent ends with its lease
  child_.emplace(Child::spawn(options));

  Client client(directory_ / "tare.sock");
  const Deadline deadline = Deadline::in(kStartWithin);
  while (!client.answers()) {
    if (const auto exit = child_->wait(Deadline::in(std::chrono::milliseconds(5)))) {
      child_.reset();
      throw Error(Code::unavailable, "the private agent ended at once (" + text_of(*exit) + ")", "its message is above");
    }
    if (deadline.passed()) throw Error(Code::timeout, "the private agent did not get ready in 30 s", "try `tare agent` to see why");
  }
  client_.emplace(std::move(client));
}

void AgentSession::abandon() {
  lease_.reset();
  if (child_) child_->release();
  child_.reset();
}

void AgentSession::await_end() {
  if (child_ && child_->wait(Deadline::in(kEndWithin))) child_.reset();
}

AgentSession::~AgentSession() {
  if (child_) end();
}

void AgentSession::end() noexcept {
  lease_.reset();
  try {
    if (child_) child_->wait(Deadline::in(kEndWithin));
    remove_tree(directory_);
  } catch (const Error&) {  // it is gone, or ~Child ends it
  }
}

}  // namespace tare::agent
