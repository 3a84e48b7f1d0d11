package api

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// few is a source whose answers have no value that can be missing.
type few struct{ answers }

func (few) Model() (v1.Model, error) { return v1.Model{}, nil }

func (few) Stats() (v1.Stats, error) { return v1.Stats{Interfaces: []v1.Interface{}}, nil }

func (few) Devices() ([]v1.DeviceVerdict, error) {
	return []v1.DeviceVerdict{{Verdict: v1.Verdict{Device: "02:00:00:00:00:01", State: v1.Gathering, Votes: map[string]int{}}, Addresses: []string{}, MACs: []string{}, SameAs: []string{}}}, nil
}

func (few) Explanation(context.Context, string, v1.ExplanationRequest) (*v1.Explanation, error) {
	return &v1.Explanation{Fields: []v1.ExplainedField{{Part: v1.Padding}}, Phi: [][]float64{}, Facts: []v1.ExplainedFact{}}, nil
}

// full is a source whose answers have something in each place.
type full struct{ measured }

func (full) Explanation(context.Context, string, v1.ExplanationRequest) (*v1.Explanation, error) {
	text, n, f, state := "x", 1, 0.5, v1.Unknown
	return &v1.Explanation{
		Capture: &text, State: &state, WhyNot: &text, Fields: []v1.ExplainedField{{Part: v1.Byte, Packet: &n, Byte: &n}}, Phi: [][]float64{{1}},
		Facts: []v1.ExplainedFact{{Kind: "maker"}}, FactsValue: &f, FactsBaseValue: &f,
	}, nil
}

func (full) Devices() ([]v1.DeviceVerdict, error) {
	text, number, yes := "x", 0.5, true
	return []v1.DeviceVerdict{
		{Verdict: v1.Verdict{
			Time: v1.UnixMicro(1), Device: "ip:192.0.2.1", Capture: &text, Label: &text, Confidence: &number, State: v1.Known, Path: &text, PathConfidence: &number,
			UserLabel: &text, Vendor: &text, Facts: v1.Facts{"maker": "x"}, Distance: &number, Votes: map[string]int{"x": 1}, WindowLabel: &text,
			WindowConfidence: &number, PaddingFraction: &number, Trusted: &yes,
		}, Addresses: []string{"192.0.2.1"}, MACs: []string{"x"}, SameAs: []string{"y"}, Name: &text, NameFrom: &text, FirstSeen: v1.UnixMicro(1), LastSeen: v1.UnixMicro(1)},
	}, nil
}

// post is before a path that takes it.
const post = "POST "

// described are the schemas of the answers to paths, by what the document says of them.
func described(t *testing.T, document []byte) map[string]*jsonschema.Schema {
	t.Helper()
	all, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", all); err != nil {
		t.Fatal(err)
	}
	list, named := map[string]*jsonschema.Schema{}, map[string]bool{}
	for path, methods := range all.(object)["paths"].(object) {
		for method, o := range methods.(object) {
			id := o.(object)["operationId"].(string)
			if named[id] {
				t.Errorf("%s: another operation is named %s too", path, id)
			}
			named[id] = true
			at := "openapi.json#/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path) +
				"/" + method + "/responses/200/content/application~1json/schema"
			if path == v1.MetricsPath {
				continue
			}
			if method == "post" {
				path = post + path
			}
			if list[path], err = c.Compile(at); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			path = strings.TrimPrefix(path, post)
		}
	}
	return list
}

// The document is one, as OpenAPI's own schema has it.
func TestOpenAPI(t *testing.T) {
	file, err := os.Open("testdata/openapi-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rules, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rules.json", rules); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("rules.json")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := get(t, serve(t, answers{}), v1.OpenAPIPath)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("%v\n%s", err, body)
	}
	delete(document.(object), "info")
	if schema.Validate(document) == nil {
		t.Error("a document without info is one too: these are no rules")
	}
}

// What is answered is what the document says, with values and without them; another is not.
func TestAnswersAreAsDescribed(t *testing.T) {
	for name, src := range map[string]Source{"few values": few{}, "all values": full{}} {
		at := serve(t, src)
		document, _ := get(t, at, v1.OpenAPIPath)
		devices, _ := src.Devices()
		list := described(t, document)
		for _, path := range []string{v1.StatsPath, v1.DevicesPath, v1.FlowsPath, v1.FactsPath("{device}"), v1.PeersPath("{device}"), v1.ExplanationPath("{device}"), v1.OpenAPIPath, v1.EventsPath, v1.DevicePath("{device}"), v1.ModelPath} {
			schema := list[path]
			delete(list, path)
			if schema == nil {
				t.Errorf("nothing is said of %s", path)
				continue
			}
			body, _ := get(t, at, strings.Replace(path, "{device}", devices[0].Device, 1))
			answer, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(answer); err != nil {
				t.Errorf("%s, %s: %v\n%s", name, path, err, body)
			}
			if path != v1.OpenAPIPath && schema.Validate(spoilt(t, body)) == nil {
				t.Errorf("%s: an answer without a key passes", path)
			}
		}
		for _, w := range corrections { // which TestWords says
			path := post + v1.CorrectionPath("{device}", w.do)
			if schema := list[path]; schema == nil || schema.Validate(map[string]any{"device": "x", "kept": true}) != nil || schema.Validate(map[string]any{"device": "x"}) == nil {
				t.Errorf("%s is not described as it is", path)
			}
			delete(list, path)
		}
		delete(list, post+v1.RecordingPath) // its answer is a part of Stats'
		if schema := list[post+v1.ModelPath]; schema == nil || schema.Validate(map[string]any{"model": "x", "memories_kept": true}) != nil {
			t.Errorf("%s is not described as it is", v1.ModelPath)
		}
		delete(list, post+v1.ModelPath)
		for path := range list {
			t.Errorf("%s is described, and not looked at here", path)
		}
	}
}

// spoilt is an answer whose object, or the first of its list, has no key any more.
func spoilt(t *testing.T, body []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	if list, ok := v.([]any); ok {
		clear(list[0].(object))
	} else {
		clear(v.(object))
	}
	return v
}
