# SPDX-License-Identifier: Apache-2.0
"""What the checks of the dashboards share: the panels, queries and variables of a dashboard, and the catalogue of metrics."""
import json
import pathlib
import re

HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")


def dashboards(source):
    return sorted(pathlib.Path(source, "dashboards/grafana/dashboards").glob("*.json"))


def load(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def panels(dashboard):
    """All panels but rows, those of collapsed rows too."""
    found = []
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            found += panel.get("panels", [])
        else:
            found.append(panel)
    return found


def queries(dashboard):
    """(where, expression) of every target and annotation."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield f"panel '{panel.get('title')}' {target.get('refId')}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation '{annotation['name']}'", annotation["expr"]


def variable_query(variable):
    """(selector, label) of a variable's label_values(selector, label)."""
    match = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", variable["query"]["query"])
    if not match:
        raise ValueError(f"variable {variable['name']}: no label_values(selector, label)")
    return match.group(1), match.group(2)


def substituted(expression, values, interval="1m", span="1h"):
    expression = expression.replace("$__rate_interval", interval).replace("$__interval", interval).replace("$__range", span)
    for name, value in values.items():
        expression = re.sub(r"\$(?:\{%s\}|%s\b)" % (name, name), lambda _: value, expression)
    return expression


def selectors(expression):
    """(metric, matchers) of each selector that names a metric of tare or of its process."""
    return re.findall(r"\b((?:tare|process)_[a-z0-9_]+)(\{[^}]*\})?", expression)


def catalogue(source):
    """name -> (type, labels) of metrics.tsv."""
    families = {}
    for line in pathlib.Path(source, "dashboards/metrics.tsv").read_text(encoding="utf-8").splitlines():
        name, kind, _unit, labels, _meaning = line.split("\t")
        families[name] = (kind, [label for label in labels.split(",") if label])
    return families


def family_of(name, families):
    """The family that a sample's name belongs to, or None."""
    if name in families and families[name][0] != "histogram":
        return name
    for suffix in HISTOGRAM_SUFFIXES:
        base = name[:-len(suffix)]
        if name.endswith(suffix) and families.get(base, ("",))[0] == "histogram":
            return base
    return None
