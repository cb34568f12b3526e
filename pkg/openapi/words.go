package openapi

import (
	"slices"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// word is what the type of a field does not say of it.
type word struct {
	text      string
	min, max  float64 // both 0 for no bounds
	longest   int     // bytes of a string
	most      int     // entries of an array
	values    []string
	otherwise any // the default
}

const pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"

// words returns what is said of fields: of "Schema.field", else of "field". A test sees to it that each has a word, and each
// word a field.
func words() map[string]word {
	return map[string]word{
		"space":           {text: "Name of the space. In a request it is that of the path or the subject, and need not be said twice.", longest: event.MaxSpaceName},
		"id":              {text: "Identity of the observation within its space; the write id where it is left out.", longest: event.MaxID},
		"observed_at":     {text: "When it was observed; when the gateway took it, where it is left out."},
		"text":            {text: "The text. Without an embedding it is embedded by the space's embedder.", longest: event.MaxText},
		"embedding":       {text: "The embedding, of the dimension of the space. Answers have arrays."},
		"metadata":        {text: "Strings, numbers and booleans by name."},
		"priority":        {text: "high overtakes, and is taken until the shard is full.", values: []string{"normal", "high"}, otherwise: "normal"},
		"importance":      {text: "Weight of the observation.", min: 0, max: 1},
		"expires_at":      {text: "No recall returns it from then on; never, where it is left out."},
		"session":         {text: "Who numbers its observations; comes with sequence.", longest: event.MaxSession},
		"sequence":        {text: "Number of the observation within its session, from 1."},
		"observations":    {text: "The observations.", most: event.MaxBatch},
		"acknowledgement": {text: "accepted: durable in the log. searchable: recall finds it as well, or, of a forget, no recall returns it.", values: []string{"accepted", "searchable"}, otherwise: "accepted"},
		"idempotency_key": {text: "The write id, under which the request can be sent again.", longest: event.MaxWriteID},
		"deadline_ms":     {text: "How long to wait, in milliseconds, within the limit of the server."},

		"position":   {text: "Where it stands in the log; opaque."},
		"duplicate":  {text: "An earlier try had been accepted, and position is the one it got."},
		"searchable": {text: "Recall finds it, or, of a forget, returns it no more."},
		"error":      {text: "Why it was refused, or failed."},
		"results":    {text: "One for each observation, in their order."},
		"line":       {text: "Number of the line, from 1."},
		"code":       {text: "For programs. A client goes by the status of a code that it does not know."},
		"message":    {text: "A sentence for people."},
		"field":      {text: "The field of the request that the error is about."},

		"retry_after_ms": {text: "When to send it again, in milliseconds."},

		"dimension":  {text: "Components of every embedding.", min: 1, max: event.MaxDimension},
		"metric":     {text: "What a score is: cosine similarity, inner product, or minus the squared distance.", values: []string{"cosine", "dot", "l2"}},
		"vectors":    {text: "What is kept of each embedding.", values: []string{"f32", "f16", "none"}},
		"engine":     {text: "How the space is searched.", values: wire.Engines()},
		"embedder":   {text: "Who embeds text: lexical, http:<model> or none."},
		"generation": {text: "How many spaces of this name there were, this one included."},
		"created_at": {text: "When the space was made."},
		"shard":      {text: "The log that the space is in."},
		"created":    {text: "This request made the space."},

		"k":            {text: "How many hits.", min: 1, max: event.MaxK, otherwise: event.DefaultK},
		"min_score":    {text: "Hits below it are left out."},
		"filter":       {text: "Which observations to consider: an expression in CEL.", longest: event.MaxFilter},
		"at_least":     {text: "A position: answer only from a copy that has applied it."},
		"as_of":        {text: "A position: answer from what held at it."},
		"before":       {text: "A position: begin behind it, that is with what is older."},
		"limit":        {text: "How many observations.", min: 1, max: event.MaxList, otherwise: event.DefaultList},
		"include":      {text: "What each observation of the answer carries beside the rest; text and metadata where it is left out.", values: []string{"embedding", "text", "metadata", "none"}},
		"recall":       {text: "How hard to look for the true nearest ones.", values: []string{"fast", "balanced", "exact"}, otherwise: "balanced"},
		"ef":           {text: "Length of the candidate list in the graph, in place of recall.", min: 1, max: event.MaxEf},
		"hits":         {text: "The nearest ones, best first."},
		"score":        {text: "Better when higher."},
		"applied":      {text: "The position up to which the copy that answered has applied everything."},
		"staleness_ms": {text: "Age of the oldest observation that it knows of and could not search yet, in milliseconds."},
		"searched":     {text: "How many rows were looked at."},
		"exact":        {text: "Nothing that belongs into the answer can have been missed."},
		"took_us":      {text: "Microseconds that it took."},
		"more":         {text: "There is another page."},

		"spaces":        {text: "The spaces, by name."},
		"rows_in_tail":  {text: "Rows that are scanned."},
		"rows_in_graph": {text: "Rows that are searched through the graph."},
		"rows_dead":     {text: "Rows of both that were replaced, forgotten or have expired, and are not reclaimed yet."},
		"copies":        {text: "What each copy of the space's shard did."},
		"worker":        {text: "The worker that has the copy."},
		"rows_before":   {text: "Rows before."}, "rows_after": {text: "Rows after."}, "rows_reclaimed": {text: "Rows that are gone."},
		"log_bytes_before": {text: "Bytes of the shard's row log before."}, "log_bytes_after": {text: "Bytes of the shard's row log after."},
		"took_ms": {text: "Milliseconds that it took."},

		"next":                    {text: "The cursor of the next page, where there is one."},
		"cursor":                  {text: "The next of the page before, with the rest of the request as it was."},
		"paged":                   {text: "Answer in pages, with next where there is another one."},
		"half_life_ms":            {text: "The score of an observation this much older counts half; milliseconds."},
		"prefix":                  {text: "All spaces whose name begins so.", longest: event.MaxSpaceName},
		"Recall.spaces":           {text: "The spaces, where the path names none.", most: event.MaxSpaces},
		"similarity":              {text: "The score before its age was counted."},
		"order":                   {text: "By position or by time, the newest or the oldest first.", values: []string{"newest", "oldest", "latest", "earliest"}, otherwise: "newest"},
		"from":                    {text: "Observed at this time or later."},
		"to":                      {text: "Observed before this time."},
		"erase":                   {text: "Keep nothing for reads of the past."},
		"traces":                  {text: "Bytes to look for beside the ids."},
		"look_only":               {text: "Erase nothing."},
		"Prove.position":          {text: "The position of the forget."},
		"Prove.ids":               {text: "Ids of observations.", most: event.MaxPaged},
		"proven":                  {text: "Everything was looked at, and nothing was found."},
		"erased":                  {text: "How many entries of the log were erased."},
		"looked":                  {text: "What was looked at."},
		"place":                   {text: "What kind of place it is."},
		"holder":                  {text: "Who has it."},
		"items":                   {text: "How many things were looked at there."},
		"bytes":                   {text: "How many bytes were looked at there."},
		"found":                   {text: "How often what was forgotten is there."},
		"note":                    {text: "What is to be known of it."},
		"ListAnswer.observations": {text: "The observations of the page."},
		"GetAnswer.observations":  {text: "Those that are there, of the ids that were asked for."},
		"Get.id":                  {text: "One id, in place of ids.", longest: event.MaxID},
		"Spaces.space":            {text: "Only this space.", longest: event.MaxSpaceName},
		"RecallAnswer.spaces":     {text: "What each space had to say, where there are several."},

		"quota":                   {text: "What the space may have. What a request leaves out stays as it is, and 0 ends a bound."},
		"observations_per_second": {text: "Observations a second."},
		"bytes_per_second":        {text: "Bytes a second."},
		"stored_observations":     {text: "Observations that it holds."},
		"revision":                {text: "Of the definition with its quota; it rises with each change."},
		"if_revision":             {text: "Change the quota only where the revision is this one."},
		"Space.observations":      {text: "How many observations it has."},
		"Recall.id":               {text: "The nearest ones of this observation, itself left out. One of embedding, text and id is needed.", longest: event.MaxID},
		"Recall.text":             {text: "The nearest ones of this text, which the space's embedder embeds.", longest: event.MaxText},
		"Recall.embedding":        {text: "The nearest ones of this embedding."},
		"ids":                     {text: "Ids of observations.", most: event.MaxList},
		"all":                     {text: "Forget everything, and drop the space."},

		"header." + wire.HeaderAck:            {text: "acknowledgement, where the body does not say.", values: []string{"accepted", "searchable"}},
		"header." + wire.HeaderDeadline:       {text: "deadline_ms, where the body does not say."},
		"header." + wire.HeaderIdempotencyKey: {text: "idempotency_key, where the body does not say.", longest: event.MaxWriteID},
		"path.space":                          {text: "Name of the space.", longest: event.MaxSpaceName},
		"path.id":                             {text: "Id of the observation, percent-encoded.", longest: event.MaxID},
	}
}

func valuesOf(names []string) []any {
	out := make([]any, 0, len(names))
	for _, n := range slices.Clone(names) {
		out = append(out, n)
	}
	return out
}
