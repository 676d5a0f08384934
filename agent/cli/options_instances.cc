// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/options_instances.h"

namespace tare::agent::cli {
namespace {

/// What `tare run` and `tare exec` have in common.
void declare_process(CLI::App& verb, RunOptions& run) {
  verb.add_flag("-i,--interactive", run.interactive, "our stdin is its stdin");
  verb.add_flag("-t,--tty", run.tty, "it has a terminal; with -i ours is raw, and control-p control-q leaves it running");
  verb.add_option("-u,--user", run.user, "NAME or UID, and :GROUP behind it; names as the image has them");
  verb.add_option("-e,--env", run.environment, "KEY=VALUE, or KEY for the value it has here")->take_all()->expected(1);
  verb.add_option("-w,--workdir", run.working_directory, "directory that the command starts in");
}

void declare_storage(CLI::App& verb, RunOptions& run) {
  verb.add_option("-v,--volume", run.volumes, "SOURCE:TARGET[:ro], a path of this host or the name of a volume")->take_all()->expected(1);
  verb.add_option("--mount", run.mounts, "type=bind|volume|tmpfs,source=S,target=T[,readonly][,size=64MiB]")->take_all()->expected(1);
  verb.add_option("--tmpfs", run.tmpfs, "TARGET[:size=64MiB,ro]")->take_all()->expected(1);
  verb.add_flag("--read-only", run.read_only, "nothing but its mounts can be written");
  verb.add_option("--device", run.devices, "a device node of this host, as /dev/fuse")->take_all()->expected(1);
}

void declare_run(CLI::App& app, Options& o) {
  RunOptions& run = o.instance_run;
  CLI::App* verb = app.add_subcommand("run", "start a workload on metal, in a container or in a VM");
  verb->add_option("IMAGE", run.image, "an image reference; what follows is the command")->required();
  verb->add_option("--backend", run.backend, "metal, container or vm")->capture_default_str();
  verb->add_flag("-d,--detach", run.detach, "print its id and let it run; else it ends with this command");
  verb->add_option("--name", run.name, "a name for it; else its id");
  verb->add_option("-m,--memory", run.memory, "as 64MiB; a VM has that much");
  verb->add_option("--cpus", run.cpus, "CPU time per time, as 0.5");
  verb->add_option("--pids", run.pids, "most processes and threads");
  verb->add_option("--network", run.network, "none, link: a link to this host, bridge or host");
  verb->add_option("-p,--publish", run.publish, "HOST:PORT, a TCP port of this host that leads to one of its own")->take_all()->expected(1);
  verb->add_option("--dns", run.dns, "address of a name server")->take_all()->expected(1);
  verb->add_option("--security", run.security, "standard, or none to measure what protection costs");
  verb->add_option("--userns", run.userns, "host, or auto: its root is not this host's");
  verb->add_option("--start", run.start, "cold; or with most made beforehand: pooled, zygote; of a VM restored, parked");
  verb->add_option("--vm-profile", run.vm_profile, "default, minimal, matched or tuned: how the machine of a VM is shaped");
  declare_process(*verb, run);
  declare_storage(*verb, run);
  verb->add_flag("--init", run.init, "PID 1 is tare's: it reaps orphans and hands signals on");
  verb->add_option("--umask", run.umask, "as 027");
  verb->add_option("--ulimit", run.ulimits, "NAME=SOFT[:HARD], as nofile=1024:4096")->take_all()->expected(1);
  verb->add_option("--hostname", run.hostname, "host name; else its id");
  verb->add_option("--stop-grace", run.stop_grace, "time from SIGTERM to SIGKILL, as 10s");
  verb->add_option("--config", o.config, "agent.yaml to use");
}

}  // namespace

void declare_instance_verbs(CLI::App& app, Options& o) {
  declare_run(app, o);
  CLI::App* ps = app.add_subcommand("ps", "list the instances that run");
  ps->add_flag("-a,--all", o.all, "also those that have ended");
  ps->add_flag("--json", o.json, "print JSON");
  CLI::App* logs = app.add_subcommand("logs", "print what an instance has written");
  logs->add_option("INSTANCE", o.instances, "an id or a name")->required()->expected(1);
  logs->add_flag("-f,--follow", o.follow, "go on until it ends");
  logs->add_flag("-t,--timestamps", o.timestamps, "with the time of each line's arrival");
  logs->add_option("-n,--tail", o.tail, "only the last lines");
  logs->add_option("--since", o.since, "only since then: unix time, or an age as 10m");
  CLI::App* exec = app.add_subcommand("exec", "run a further process in an instance");
  exec->add_option("INSTANCE", o.instances, "an id or a name; what follows is the command")->required()->expected(1);
  declare_process(*exec, o.instance_run);
  CLI::App* attach = app.add_subcommand("attach", "see and type into an instance that runs; control-p control-q leaves it");
  attach->add_option("INSTANCE", o.instances, "an id or a name")->required()->expected(1);
  attach->add_flag("--no-stdin", o.no_stdin, "look on only");
  CLI::App* stop = app.add_subcommand("stop", "end instances: SIGTERM and, after a grace, SIGKILL");
  stop->add_option("INSTANCE", o.instances, "ids or names")->required();
  stop->add_option("-g,--grace", o.grace, "time from SIGTERM to SIGKILL, as 10s");
  CLI::App* rm = app.add_subcommand("rm", "remove instances that have ended");
  rm->add_option("INSTANCE", o.instances, "ids or names")->required();
  rm->add_flag("-f,--force", o.force, "also those that run");
}

namespace {

/// True when the word after `word` is its value: of "--env", "-e" and "-ite", not of "--env=A=1" and "-eA=1".
bool takes_next(const CLI::App& verb, const std::string& word) {
  const auto has_value = [&](const std::string& name) {
    const CLI::Option* option = verb.get_option_no_throw(name);
    return option != nullptr && option->get_items_expected_max() > 0;
  };
  if (word.starts_with("--")) return word.find('=') == std::string::npos && has_value(word);
  for (std::size_t i = 1; i < word.size(); ++i) {
    if (has_value(std::string("-") + word[i])) return i + 1 == word.size();
  }
  return false;
}

}  // namespace

std::vector<std::string> take_command(const CLI::App& verb, std::vector<std::string>& arguments) {
  std::size_t at = 1;
  for (; at < arguments.size() && arguments[at].starts_with("-") && arguments[at] != "--"; ++at) {
    if (takes_next(verb, arguments[at])) ++at;
  }
  if (at < arguments.size() && arguments[at] == "--") arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(at));
  const std::size_t first = std::min(at + 1, arguments.size());
  std::vector<std::string> command(arguments.begin() + static_cast<std::ptrdiff_t>(first), arguments.end());
  arguments.resize(first);
  return command;
}

}  // namespace tare::agent::cli
