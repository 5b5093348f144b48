"""Go templates. What is expected here was printed by the docker command for the same template and data."""

from __future__ import annotations

from typing import Any

import pytest

from minirund.cli.template import Template, TemplateError

DATA: dict[str, Any] = {
    "Id": "8c17a471",
    "Name": "/c1",
    "State": {"Status": "created", "Running": False, "Pid": 0},
    "Args": ["100"],
    "Created": "2026-11-21T10:05:19.305441415Z",
    "HostConfig": {"Binds": ["/tmp:/mnt:ro"], "Memory": 0, "PidsLimit": None, "CapAdd": None},
    "Mounts": [{"Type": "bind", "Source": "/tmp", "Destination": "/mnt", "RW": False}],
    "Config": {
        "Cmd": ["sleep", "100"],
        "Env": ["PATH=/bin", "FOO=bar"],
        "Labels": {"a": "b", "a.b": "c"},
        "Volumes": None,
        "Entrypoint": None,
    },
    "NetworkSettings": {"Networks": {"none": {"IPAddress": "", "MTU": 1500}, "b": {"IPAddress": "1.2.3.4", "MTU": 2}}},
}


def render(template: str, data: Any = DATA) -> str:
    return Template(template).render(data)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Id}}", "8c17a471"),
        ("a {{ .Name }} b", "a /c1 b"),
        ("{{.State.Running}} {{.State.Pid}}", "false 0"),
        ("{{.Config.Env}}", "[PATH=/bin FOO=bar]"),
        ("{{json .Config.Env}}", '["PATH=/bin","FOO=bar"]'),
        ("{{.Config.Labels}}", "map[a:b a.b:c]"),
        ('{{.Config.Labels.zz}}|{{index .Config.Labels "zz"}}|{{index .Config.Labels "a.b"}}', "<no value>||c"),
        ('{{index .Config.Env 1}} {{index .Mounts 0 "Source"}}', "FOO=bar /tmp"),
        (
            "{{.Config.Volumes}} {{.Config.Entrypoint}} {{.HostConfig.CapAdd}} {{json .Config.Volumes}}",
            "map[] [] [] null",
        ),
        ("{{.State.Health}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", "<nil> 0 <nil>"),
        ("{{range .Mounts}}{{.Source}}->{{.Destination}}{{end}}", "/tmp->/mnt"),
        ("{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}};{{end}}", "b=1.2.3.4;none=;"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$i}}={{$e}}{{end}}", "0=PATH=/bin,1=FOO=bar"),
        ("{{range $e := .Args}}<{{$e}}>{{end}}", "<100>"),
        ("{{range .HostConfig.CapAdd}}x{{else}}none{{end}}", "none"),
        ('{{if .State.Running}}up{{else if eq .State.Status "created"}}new{{else}}down{{end}}', "new"),
        ("{{with .State}}{{.Status}}{{end}}{{with .Config.Volumes}}x{{else}}-{{end}}", "created-"),
        ("{{with $s := .State}}{{$s.Status}} {{$.Id}}{{end}}", "created 8c17a471"),
        ("{{len .Mounts}} {{len .Id}} {{len .Config.Volumes}}", "1 8 0"),
        ('{{eq .State.Status "created"}} {{ne 1 2}} {{lt 1 2}} {{ge 1 2}} {{eq 1 2 3 1}}', "true true true false true"),
        ('{{and .Id .Name}} {{or "" "x"}} {{not true}} {{and 0 .Nope}}', "/c1 x false 0"),
        ('{{$x := .Name}}{{$x}} {{- "  trim" -}}   done {{/* c */}}.', "/c1  trimdone ."),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}", "FOO=bar"),
        (
            '{{printf "%s %d %q %v|%5s|%-5s|%05d|%x" "a" 3 "q" .State.Running "r" "l" 42 255}}',
            'a 3 "q" false|    r|l    |00042|ff',
        ),
        ('{{ .Created | printf "%.4s" }}', "2026"),
        ('{{.Name | printf "%s-%s" "x" | upper}}', "X-/C1"),
        (
            '{{join .Config.Cmd " "}} {{split .Name "/"}} {{upper "a"}}{{lower "B"}} {{title "ab cd"}}',
            "sleep 100 [ c1] Ab Ab Cd",
        ),
        ("{{slice .Id 0 4}} {{truncate .Id 3}} {{pad .Id 1 2}}|", "8c17 8c1  8c17a471  |"),
        ('{{print .Id 1 2}} {{println "a" 1}}', "8c17a4711 2 a 1\n"),
        ('{{(index .Mounts 0).Type}} {{(index .NetworkSettings.Networks "b").MTU}}', "bind 2"),
        ('{{.Config.Env | len | printf "%03d"}}', "002"),
        ('{{`raw \\n`}} {{"\\t\\"\\u00e9"}} {{\'a\'}} {{1.5}} {{true}} {{0x10}}', 'raw \\n \t"é 97 1.5 true 16'),
        ("{{json .State}}", '{"Status":"created","Running":false,"Pid":0}'),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ('{{"}}"}} { } }} {', "}} { } }} {"),
        ("line\n{{- /* gone */ -}}\n  next", "linenext"),
    ],
)
def test_renders(template: str, text: str) -> None:
    assert render(template) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Id", "template parsing error: template: :1: unclosed action"),
        ("a\n{{nope .Id}}", 'template parsing error: template: :2: function "nope" not defined'),
        ("{{range .Mounts}}", "template parsing error: template: :1: unexpected EOF"),
        ("{{end}}", "template parsing error: template: :1: unexpected {{end}}"),
        ("{{if}}x{{end}}", "template parsing error: template: :1: missing value for if"),
        ('{{"abc}}', "template parsing error: template: :1: unterminated quoted string"),
        ("{{(len .Id}}", "template parsing error: template: :1: unclosed left paren"),
        ("{{.Id )}}", "template parsing error: template: :1: unexpected ')' in operand"),
        ('{{define "x"}}{{end}}', "template parsing error: template: :1: {{define}} is not understood by minirun"),
        ("{{.Id % 2}}", "template parsing error: template: :1: unexpected '%' in command"),
        ("{{1x}}", "template parsing error: template: :1: bad number syntax: '1x'"),
        ('{{"\\q"}}', "template parsing error: template: :1: unknown escape in string: \\q"),
    ],
)
def test_a_template_that_is_none(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template)
    assert (caught.value.message, caught.value.code) == (message, 64)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Nope}}", 'at <.Nope>: map has no entry for key "Nope"'),
        ("{{.Id.Nope}}", "at <.Nope>: can't evaluate field Nope in '8c17a471'"),
        ("{{.State.Health.Status}}", "at <.Status>: nil pointer evaluating"),
        ("{{index .Args 7}}", "index out of range: 7"),
        ("{{slice .Id 5 99}}", "index out of range: 99"),
        ("{{eq .Id 1}}", "incompatible types for comparison"),
        ("{{len 3}}", "error calling len"),
        ("{{len}}", "error calling len"),
        ("{{range .Id}}{{end}}", "can't iterate over 8c17a471"),
        ("{{$x}}", "at <$x>: undefined variable"),
        ("{{$x = 1}}", "at <$x>: undefined variable"),
        ("{{.Id 1}}", "it has arguments but is no function"),
        ('{{lt 1 "a"}}', "incompatible types for comparison"),
    ],
)
def test_a_template_that_does_not_fit(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(template)
    assert message in caught.value.message
    assert caught.value.code == 1


def test_a_variable_of_a_block_ends_with_it() -> None:
    assert render("{{$x := 1}}{{range .Args}}{{$x := 2}}{{$x}}{{end}}{{$x}}") == "21"
