package fanfare

import (
	"cmp"
	"maps"
	"slices"

	commonv1 "fanfare.dev/gen/fanfare/common/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
)

// timeline is what a watching client holds: tweets by id.
type timeline map[int64]*commonv1.Tweet

// apply changes the timeline as an event says. A heartbeat changes nothing.
func (t timeline) apply(event *readv1.WatchHomeTimelineResponse) {
	switch event := event.Event.(type) {
	case *readv1.WatchHomeTimelineResponse_Tweet:
		t[event.Tweet.Id] = event.Tweet
	case *readv1.WatchHomeTimelineResponse_RemovedTweetId:
		delete(t, event.RemovedTweetId)
	case *readv1.WatchHomeTimelineResponse_Reset_:
		clear(t)
	}
}

func (t timeline) newestFirst() []*commonv1.Tweet {
	return slices.SortedFunc(maps.Values(t), func(a, b *commonv1.Tweet) int {
		return cmp.Compare(b.Id, a.Id)
	})
}
