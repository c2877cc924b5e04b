package fanfare

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	commonv1 "fanfare.dev/gen/fanfare/common/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
)

// HomeTimeline returns all tweets of a home timeline from the request's page on, newest first. It
// reads the pages, of the request's limit each, as they are needed. An error ends it.
func (c *Client) HomeTimeline(
	ctx context.Context, request *readv1.GetHomeTimelineRequest,
) iter.Seq2[*commonv1.Tweet, error] {
	return items(request, func(page *readv1.GetHomeTimelineRequest) ([]*commonv1.Tweet, string, error) {
		response, err := c.Read.GetHomeTimeline(ctx, page)
		return response.GetTweets(), response.GetNextPageToken(), err
	}, func(page *readv1.GetHomeTimelineRequest, token string) {
		page.PageToken, page.Offset = token, 0
	})
}

// UserTweets returns all tweets of a user, newest first; see HomeTimeline.
func (c *Client) UserTweets(
	ctx context.Context, request *readv1.ListUserTweetsRequest,
) iter.Seq2[*commonv1.Tweet, error] {
	return items(request, func(page *readv1.ListUserTweetsRequest) ([]*commonv1.Tweet, string, error) {
		response, err := c.Read.ListUserTweets(ctx, page)
		return response.GetTweets(), response.GetNextPageToken(), err
	}, func(page *readv1.ListUserTweetsRequest, token string) {
		page.PageToken, page.Offset = token, 0
	})
}

// Users returns all users by id; see HomeTimeline.
func (c *Client) Users(
	ctx context.Context, request *readv1.ListUsersRequest,
) iter.Seq2[*commonv1.User, error] {
	return items(request, func(page *readv1.ListUsersRequest) ([]*commonv1.User, string, error) {
		response, err := c.Read.ListUsers(ctx, page)
		return response.GetUsers(), response.GetNextPageToken(), err
	}, func(page *readv1.ListUsersRequest, token string) {
		page.PageToken, page.Offset = token, 0
	})
}

// Followers returns all followers of a user, newest follow first; see HomeTimeline.
func (c *Client) Followers(
	ctx context.Context, request *readv1.ListFollowersRequest,
) iter.Seq2[*commonv1.User, error] {
	return items(request, func(page *readv1.ListFollowersRequest) ([]*commonv1.User, string, error) {
		response, err := c.Read.ListFollowers(ctx, page)
		return response.GetUsers(), response.GetNextPageToken(), err
	}, func(page *readv1.ListFollowersRequest, token string) {
		page.PageToken, page.Offset = token, 0
	})
}

// Following returns all users whom a user follows, newest follow first; see HomeTimeline.
func (c *Client) Following(
	ctx context.Context, request *readv1.ListFollowingRequest,
) iter.Seq2[*commonv1.User, error] {
	return items(request, func(page *readv1.ListFollowingRequest) ([]*commonv1.User, string, error) {
		response, err := c.Read.ListFollowing(ctx, page)
		return response.GetUsers(), response.GetNextPageToken(), err
	}, func(page *readv1.ListFollowingRequest, token string) {
		page.PageToken, page.Offset = token, 0
	})
}

// items yields the items of all pages. The request itself is not changed.
func items[Request proto.Message, Item any](
	request Request,
	read func(Request) ([]Item, string, error),
	turnTo func(page Request, token string),
) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		page := proto.CloneOf(request)
		for {
			found, next, err := read(page)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range found {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			turnTo(page, next)
		}
	}
}
