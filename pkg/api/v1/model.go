package v1

import "encoding/json"

// Model says what judges: the answer to [ModelPath].
type Model struct {
	Judges  *Judge          `json:"judges" means:"null: records only"`
	Learned json.RawMessage `json:"learned" means:"what came of learning last, as learn --json prints it, without the devices that it names; null: nothing is known"`
}

// Judge is the model that judges now.
type Judge struct {
	Model        string   `json:"model" means:"in words"`
	File         string   `json:"file" means:"path, embedded, or lab"`
	Learned      bool     `json:"learned" means:"it is of run --models"`
	Digest       string   `json:"digest" means:"SHA-256 of its file, as this version writes it"`
	Labels       []string `json:"labels" means:"that a device can be given"`
	Architecture []string `json:"architecture" means:"the networks in it: stream, cnn"`
	Record       string   `json:"record" means:"what it reads of a flow, in words"`
	Since        Time     `json:"since" means:"when it began to judge"`
}

// ModelTaken is the model that judges from now on.
type ModelTaken struct {
	Model        string `json:"model"`         // in words
	MemoriesKept bool   `json:"memories_kept"` // what the network remembers of devices goes on
}
