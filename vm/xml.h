// SPDX-License-Identifier: Apache-2.0
// A small writer of XML that escapes what it is given, so that no name or path can change the document's shape.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tare::vm {

class Xml {
 public:
  using Attributes = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  /// Opens an element; end() closes the last one still open. An attribute with an empty value is left out.
  Xml& begin(std::string_view element, Attributes attributes = {});
  Xml& end();
  /// <element …/>, or <element …>text</element>.
  Xml& element(std::string_view element, Attributes attributes = {});
  Xml& element(std::string_view element, Attributes attributes, std::string_view text);
  /// The document; every element must be closed.
  const std::string& text() const { return text_; }

 private:
  void tag(std::string_view element, Attributes attributes);
  std::string text_;
  std::vector<std::string> open_;
};

/// With & < > " ' replaced, and characters that XML 1.0 cannot hold left out.
std::string escaped(std::string_view text);

}  // namespace tare::vm
