// Counts the tweets and followers of each user from the topic, and serves them as JSON:
//
//	go run . -state counts.json                # follow the topic; GET http://127.0.0.1:8099/7
//	go run . -state counts.json -until-end     # read what is there, print all counts, and end
//
// The state is one file, which is replaced as a whole. Four rules keep the counts right although
// records come at least once:
//
//  1. The offsets of the next records are in the same file as the effects of those before them. After
//     a crash the program begins where the file is.
//  2. Counts are the sizes of sets: which tweets a user has, and who follows them. A record that comes
//     again changes nothing, and the last record of each tweet and each follow decides. A counter that
//     each record increments would count twice what is sent twice.
//  3. A record that a replaced relay still sent is skipped: it is out of order, and its successor has
//     sent the event again.
//  4. A record that is not an event of the feed changes nothing, not even which history is the newest.
//     Neither does a dead letter that was sent again: it is out of order, and its epoch is no relay's.
//
// If the topic no longer has the records behind the stored offsets, the program ends: what the state
// lacks does not come again, so it must be built again in a new file.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	eventsv1 "fanfare.dev/gen/fanfare/events/v1"
)

// The header of a dead letter that `fanfare dlq replay` sent again.
const replayedHeader = "replayed"

// How long effects may be in memory only. After a crash they are read from the topic again.
const saveEvery = 5 * time.Second

// User is what is known of one user. The values of the maps mean nothing.
type User struct {
	Tweets    map[int64]bool `json:"tweets"`
	Followers map[int64]bool `json:"followers"`
}

// Partition is how far one partition was read.
type Partition struct {
	NextOffset int64  `json:"next_offset"`
	History    string `json:"history"`
	RelayEpoch int64  `json:"relay_epoch"`
	// Ended has the histories of the database that came before in this partition.
	Ended map[string]bool `json:"ended"`
}

// State is everything that is kept, and what is in the file.
type State struct {
	mutex      sync.Mutex
	Users      map[int64]*User      `json:"users"`
	Partitions map[int32]*Partition `json:"partitions"`
}

func loadState(path string) (*State, error) {
	state := &State{Users: map[int64]*User{}, Partitions: map[int32]*Partition{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err == nil {
		err = json.Unmarshal(text, state)
	}
	return state, err
}

// save replaces the file, so that a crash leaves either the old state or the new one.
func (s *State) save(path string) error {
	s.mutex.Lock()
	text, err := json.Marshal(s)
	s.mutex.Unlock()
	if err != nil {
		return err
	}
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (s *State) apply(record *kgo.Record) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	partition := s.partition(record.Partition)
	partition.NextOffset = record.Offset + 1
	event, err := readEvent(record)
	if err != nil {
		log.Printf("skipped %s/%d/%d: %v", record.Topic, record.Partition, record.Offset, err)
		return
	}
	if !partition.accepts(event) {
		return
	}
	switch change := event.Event.(type) {
	case *eventsv1.FeedEvent_TweetCreated:
		tweet := change.TweetCreated.Tweet
		s.user(tweet.UserId).Tweets[tweet.Id] = true
	case *eventsv1.FeedEvent_TweetDeleted:
		delete(s.user(change.TweetDeleted.UserId).Tweets, change.TweetDeleted.TweetId)
	case *eventsv1.FeedEvent_UserFollowed:
		s.user(change.UserFollowed.FollowedId).Followers[change.UserFollowed.FollowerId] = true
	case *eventsv1.FeedEvent_UserUnfollowed:
		delete(s.user(change.UserUnfollowed.FollowedId).Followers, change.UserUnfollowed.FollowerId)
	case *eventsv1.FeedEvent_UserDeleted:
		// The events that delete the user's tweets and follows have come before. Where they are many,
		// some come after this event, and then another such event comes behind the last of them.
		delete(s.Users, change.UserDeleted.UserId)
	}
}

// readEvent returns the event in a record. It fails if there is none, if it is of a kind that this
// program does not know, or if it is a dead letter that was sent again.
func readEvent(record *kgo.Record) (*eventsv1.FeedEvent, error) {
	for _, header := range record.Headers {
		if header.Key == replayedHeader {
			return nil, errors.New("a dead letter that was sent again")
		}
	}
	event := &eventsv1.FeedEvent{}
	if err := proto.Unmarshal(record.Value, event); err != nil {
		return nil, err
	}
	var first, second int64
	switch change := event.Event.(type) {
	case *eventsv1.FeedEvent_TweetCreated:
		tweet := change.TweetCreated.GetTweet()
		first, second = tweet.GetUserId(), tweet.GetId()
	case *eventsv1.FeedEvent_TweetUpdated:
		tweet := change.TweetUpdated.GetTweet()
		first, second = tweet.GetUserId(), tweet.GetId()
	case *eventsv1.FeedEvent_TweetDeleted:
		first, second = change.TweetDeleted.GetUserId(), change.TweetDeleted.GetTweetId()
	case *eventsv1.FeedEvent_UserFollowed:
		first, second = change.UserFollowed.GetFollowedId(), change.UserFollowed.GetFollowerId()
	case *eventsv1.FeedEvent_UserUnfollowed:
		first, second = change.UserUnfollowed.GetFollowedId(), change.UserUnfollowed.GetFollowerId()
	case *eventsv1.FeedEvent_UserDeleted:
		first, second = change.UserDeleted.GetUserId(), change.UserDeleted.GetUserId()
	default:
		return nil, errors.New("unknown kind of event")
	}
	if first <= 0 || second <= 0 {
		return nil, errors.New("an event without its ids")
	}
	return event, nil
}

// accepts returns whether an event is of the newest relay of the newest history of its partition.
func (p *Partition) accepts(event *eventsv1.FeedEvent) bool {
	if event.History != p.History {
		if p.Ended[event.History] {
			return false
		}
		p.Ended[p.History] = true
		p.History, p.RelayEpoch = event.History, event.RelayEpoch
		return true
	}
	if event.RelayEpoch < p.RelayEpoch {
		return false
	}
	p.RelayEpoch = event.RelayEpoch
	return true
}

func (s *State) partition(number int32) *Partition {
	if s.Partitions[number] == nil {
		s.Partitions[number] = &Partition{Ended: map[string]bool{}}
	}
	return s.Partitions[number]
}

func (s *State) user(id int64) *User {
	if s.Users[id] == nil {
		s.Users[id] = &User{Tweets: map[int64]bool{}, Followers: map[int64]bool{}}
	}
	return s.Users[id]
}

// counts returns the counts of one user as JSON.
func (s *State) counts(id int64) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	tweets, followers := 0, 0
	if user := s.Users[id]; user != nil {
		tweets, followers = len(user.Tweets), len(user.Followers)
	}
	return fmt.Sprintf(`{"user_id": "%d", "tweets": %d, "followers": %d}`, id, tweets, followers)
}

// hasReached returns whether all partitions have been read to these ends.
func (s *State) hasReached(ends map[int32]int64) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for number, end := range ends {
		if partition := s.Partitions[number]; partition == nil || partition.NextOffset < end {
			return false
		}
	}
	return true
}

func run(ctx context.Context, brokers, topic, path, listen string, untilEnd bool) error {
	state, err := loadState(path)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		// By default lost records would be passed over silently.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := assign(ctx, client, topic, state)
	if err != nil {
		return err
	}
	if !untilEnd {
		go func() { log.Fatal(http.ListenAndServe(listen, handler(state))) }()
	}
	saved := time.Now()
	for ctx.Err() == nil && !(untilEnd && state.hasReached(ends)) {
		fetches, err := poll(ctx, client)
		if err != nil {
			return err
		}
		fetches.EachRecord(state.apply)
		if time.Since(saved) > saveEvery {
			if err := state.save(path); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	if err := state.save(path); err != nil {
		return err
	}
	if untilEnd {
		for id := range state.Users {
			fmt.Println(state.counts(id))
		}
	}
	return nil
}

// poll returns new records. It waits for them, but not for longer than effects may be in memory only.
func poll(ctx context.Context, client *kgo.Client) (kgo.Fetches, error) {
	waiting, stop := context.WithTimeout(ctx, saveEvery)
	defer stop()
	fetches := client.PollFetches(waiting)
	for _, failed := range fetches.Errors() {
		if waiting.Err() == nil || !errors.Is(failed.Err, waiting.Err()) {
			return nil, fmt.Errorf("%s/%d: %w", failed.Topic, failed.Partition, failed.Err)
		}
	}
	return fetches, nil
}

// assign begins to read all partitions where the state ends, and returns the present ends of those
// that have records. It fails if a partition does not have the records that come next.
func assign(ctx context.Context, client *kgo.Client, topic string, state *State) (map[int32]int64, error) {
	admin := kadm.NewClient(client)
	begins, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	found, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(begins.Error(), found.Error()); err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	offsets := map[int32]kgo.Offset{}
	var lost error
	found.Each(func(end kadm.ListedOffset) {
		begin, _ := begins.Lookup(topic, end.Partition)
		next := state.partition(end.Partition).NextOffset
		if next == 0 { // nothing was read yet
			next = begin.Offset
		}
		if next < begin.Offset || next > end.Offset {
			lost = fmt.Errorf("partition %d has the offsets %d to %d, but the state ends at %d: records have "+
				"expired, or Kafka was restored or lost; build the state again in a new file",
				end.Partition, begin.Offset, end.Offset, next)
		}
		offsets[end.Partition] = kgo.NewOffset().At(next)
		if begin.Offset < end.Offset {
			ends[end.Partition] = end.Offset
		}
	})
	if lost != nil {
		return nil, lost
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
	return ends, nil
}

func handler(state *State) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/"), 10, 64)
		if err != nil {
			http.Error(w, "the path is not a user id", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, state.counts(id))
	})
}

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "brokers of Kafka, with commas between them")
	topic := flag.String("topic", "fanfare.feed.v1", "the topic")
	path := flag.String("state", "counts.json", "the file of the state")
	listen := flag.String("listen", "127.0.0.1:8099", "where the counts are served")
	untilEnd := flag.Bool("until-end", false, "end when all is read, and print the counts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *brokers, *topic, *path, *listen, *untilEnd); err != nil {
		log.Fatal(err)
	}
}
