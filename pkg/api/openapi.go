package api

// This file describes the paths as OpenAPI 3.1, from what serves them and the types that it
// answers with.

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// object is a JSON object in the making.
type object = map[string]any

// openAPI is the document of routes, which answers GET of v1.OpenAPIPath.
func openAPI(routes []route) []byte {
	types := schemas{}
	paths := object{}
	for _, r := range routes {
		path, known := paths[r.path].(object)
		if !known {
			path = object{}
			paths[r.path] = path
		}
		o := operation(r, types)
		if known { // a name is of one operation, and stays with the first
			o["operationId"] = strings.ToLower(r.method()) + "_" + o["operationId"].(string)
		}
		path[strings.ToLower(r.method())] = o
	}
	document, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "iotsense",
			"version":     "1",
			"description": "What a running sensor answers. Names stay, meanings stay, keys are added. A key without a value is null.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []any{object{"url": "http://iotsense", "description": "the unix socket " + v1.DefaultSocket + ": the host's name is any"}},
		"security":   []any{},
		"paths":      paths,
		"components": object{"schemas": types},
	})
	if err != nil {
		panic(err) // of maps, texts and numbers alone
	}
	return document
}

var (
	inPath    = regexp.MustCompile(`\{(\w+)\}`)  // the variables of a path's pattern
	notInName = regexp.MustCompile(`[^a-z0-9]+`) // of an operation
)

func operation(r route, types schemas) object {
	parameters := []any{}
	name := strings.Trim(notInName.ReplaceAllString(r.path, "_"), "_")
	for _, m := range inPath.FindAllStringSubmatch(r.path, -1) {
		parameters = append(parameters, object{
			"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"},
			"description": `its name in a verdict: a MAC, or "ip:ADDR"`,
		})
	}
	for _, q := range r.query {
		parameters = append(parameters, object{"name": q.name, "in": "query", "description": q.means, "schema": q.schema()})
	}
	headers := object{v1.SensorHeader: object{"description": "the sensor that answers, as stats' sensor", "schema": object{"type": "string"}}}
	for _, h := range r.headers {
		headers[h.name] = object{"description": h.means, "schema": h.schema()}
	}
	content, schema := r.kind, object{"type": "string"}
	switch {
	case r.value != nil:
		schema = types.of(r.value)
	case r.kind == jsonContent:
		schema = object{"type": "object"}
	}
	why := func(description string) object {
		return object{"description": description, "content": object{"text/plain": object{"schema": object{"type": "string"}}}}
	}
	contents := object{content: object{"schema": schema}}
	if r.stream != nil {
		contents[streamContent] = object{"schema": object{"type": "string"}}
		parameters = append(parameters, object{"name": "Last-Event-ID", "in": "header", "schema": object{"type": "string"},
			"description": "of a stream: the number of the event that it goes on behind; left out, and without after: the newest"})
	}
	responses := object{
		strconv.Itoa(http.StatusOK):                  object{"description": r.summary, "headers": headers, "content": contents},
		strconv.Itoa(http.StatusInternalServerError): why("it cannot be made; the text says why"),
		strconv.Itoa(http.StatusServiceUnavailable):  why("too many ask at once: ask again after a second"),
	}
	o := object{"operationId": name, "summary": r.summary, "parameters": parameters, "responses": responses}
	if r.unseen {
		responses[strconv.Itoa(http.StatusNotFound)] = why("there is no such device, or it has been forgotten")
	}
	if r.body != nil {
		o["requestBody"] = object{"required": true, "content": object{jsonContent: object{"schema": types.of(r.body)}}}
		responses[strconv.Itoa(http.StatusForbidden)] = why("who asks may not write; the text says who may")
		responses[strconv.Itoa(http.StatusConflict)] = why("it is not taken; the text says why")
	}
	return o
}

func (p parameter) schema() object {
	if p.values == nil {
		return object{"type": "string"}
	}
	return object{"type": "string", "enum": p.values}
}

// schemas are those of structs, by their names.
type schemas map[string]object

// words are the types of which there are only so many values.
var words = map[reflect.Type]any{reflect.TypeFor[v1.State](): v1.States, reflect.TypeFor[v1.Part](): v1.Parts}

// of is the JSON Schema of a type's JSON.
func (s schemas) of(t reflect.Type) object {
	switch all, ok := words[t]; {
	case ok:
		return object{"type": "string", "enum": all}
	case t == reflect.TypeFor[v1.Time]():
		return object{"type": []string{"string", "null"}, "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{"type": []string{"object", "null"}}
	case t == reflect.TypeFor[v1.Facts](): // null where nothing is kept
		return object{"type": []string{"object", "null"}, "additionalProperties": s.of(t.Elem())}
	}
	switch kind := t.Kind(); kind {
	case reflect.Pointer:
		return object{"anyOf": []any{s.of(t.Elem()), object{"type": "null"}}}
	case reflect.Struct:
		if _, known := s[t.Name()]; !known {
			s[t.Name()] = object{} // it may have itself in it
			s[t.Name()] = s.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Uint8, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	default:
		panic("no schema of " + t.String()) // the first who serves meets it
	}
}

// structure is the schema of a struct's fields, with what they are declared to mean.
func (s schemas) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || key == "" || key == "-" {
			continue
		}
		schema := s.of(f.Type)
		if means := f.Tag.Get("means"); means != "" {
			schema["description"] = means
		}
		properties[key] = schema
		if options == "" {
			required = append(required, key)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}
}
