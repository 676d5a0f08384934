// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <cerrno>

#include "core/error.h"
#include "image/layers.h"
#include "image/store.h"

namespace tare::image {
namespace {

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

enum class Found { nothing, not_executable, executable };

/// What `path` is for a process whose root the layers are.
Found look_at(const Layers& layers, const std::string& path) {
  const Fd fd = layers.find(path);
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG) return Found::nothing;
    if (errno == EACCES) return Found::not_executable;
    throw_errno("open " + path + " of the image");
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) throw_errno("stat " + path);
  return S_ISREG(status.st_mode) && (status.st_mode & 0111) != 0 ? Found::executable : Found::not_executable;
}

/// The last PATH counts, as in an environment that was appended to.
std::string_view search_path(const Image& image, const std::vector<std::string>& environment) {
  std::string_view found;
  bool seen = false;
  for (const auto* list : {&image.environment, &environment}) {
    for (const std::string& variable : *list) {
      if (!variable.starts_with("PATH=")) continue;
      found = std::string_view(variable).substr(5);
      seen = true;
    }
  }
  return seen ? found : kDefaultPath;
}

std::vector<std::string> candidates(const Image& image, const std::string& argv0, const std::vector<std::string>& environment,
                                    const std::string& directory) {
  if (argv0.starts_with('/')) return {argv0};
  const std::string base = directory.ends_with('/') ? directory : directory + "/";
  if (argv0.find('/') != std::string::npos) return {base + argv0};
  std::vector<std::string> paths;
  std::string_view rest = search_path(image, environment);
  while (true) {
    const std::size_t colon = rest.find(':');
    const std::string folder(rest.substr(0, colon));
    // An empty part means the working directory, as execvp(3) has it.
    paths.push_back(folder.empty() ? base + argv0 : folder + "/" + argv0);
    if (colon == std::string_view::npos) return paths;
    rest.remove_prefix(colon + 1);
  }
}

}  // namespace

std::string find_command(const Image& image, const std::string& argv0, const std::vector<std::string>& environment,
                         const std::string& directory) {
  if (argv0.empty())
    throw Error(Code::invalid, "the command for image '" + image.reference + "' is empty", "give it in the workload's 'command'");
  const Layers layers(image.layers);
  std::string refused;
  for (const std::string& path : candidates(image, argv0, environment, directory)) {
    const Found found = look_at(layers, path);
    if (found == Found::executable) return path;
    if (found == Found::not_executable && refused.empty()) refused = path;
  }
  if (!refused.empty()) {
    throw Error(Code::invalid, "command '" + argv0 + "' in image '" + image.reference + "' is not executable",
                refused + " is no regular file with an execute bit");
  }
  std::string hint = "its path in the image is looked for as it is";
  if (argv0.find('/') == std::string::npos) hint = "PATH of the image is " + std::string(search_path(image, environment));
  throw Error(Code::not_found, "command '" + argv0 + "' is not in image '" + image.reference + "'", hint);
}

}  // namespace tare::image
