// SPDX-License-Identifier: Apache-2.0
#include "container/plan.h"

#include "core/error.h"

namespace tare::container {

std::string overlay_options(const std::string& lower, const std::string& directory) {
  for (const std::string& path : {lower, directory}) {
    if (path.find_first_of(",:\\\"") != std::string::npos) {
      throw Error(Code::invalid, "overlay mount of " + path + ": the path has a comma, colon, quote or backslash",
                  "use a directory without these characters");
    }
  }
  // volatile: no sync at unmount; the upper layer dies with the instance.
  return "lowerdir=" + lower + ",upperdir=" + directory + "/upper,workdir=" + directory + "/work,volatile";
}

}  // namespace tare::container
