package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
)

// Messages that a watcher may be behind; one that is further behind has to watch anew.
const backlog = 128

// registry knows the machines of each cluster; what they tell of themselves is encrypted, and not looked at.
type registry struct {
	now      func() time.Time
	lock     sync.Mutex
	clusters map[string]*cluster
}

type cluster struct {
	affiliates map[string]*affiliate
	watchers   map[chan *pb.WatchResponse]struct{}
}

// affiliate is a machine: what it says of itself, and endpoints that it or others know of it.
type affiliate struct {
	data      []byte
	expires   time.Time
	endpoints map[string]time.Time
}

func newRegistry(now func() time.Time) *registry {
	return &registry{now: now, clusters: map[string]*cluster{}}
}

// update adds to what is known of a machine, and tells whether it is new; data nil leaves what it says of itself.
func (r *registry) update(clusterID, id string, data []byte, endpoints [][]byte, ttl time.Duration) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	c := r.cluster(clusterID)
	a, known := c.affiliates[id]
	if !known {
		a = &affiliate{endpoints: map[string]time.Time{}}
		c.affiliates[id] = a
	}
	expires := r.now().Add(ttl)
	a.expires = expires
	changed := !known
	if data != nil && !slices.Equal(a.data, data) {
		a.data, changed = data, true
	}
	for _, endpoint := range endpoints {
		if _, known := a.endpoints[string(endpoint)]; !known {
			changed = true
		}
		a.endpoints[string(endpoint)] = expires
	}
	if changed {
		c.tell(&pb.WatchResponse{Affiliates: []*pb.Affiliate{a.message(id)}})
	}
	return !known
}

// remove forgets a machine.
func (r *registry) remove(clusterID, id string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.cluster(clusterID).remove(id)
}

// list gives all machines of a cluster.
func (r *registry) list(clusterID string) []*pb.Affiliate {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.cluster(clusterID).messages()
}

// watch gives all machines of a cluster and a channel of what changes after that, closed when its reader is too slow;
// the function ends it.
func (r *registry) watch(clusterID string) ([]*pb.Affiliate, <-chan *pb.WatchResponse, func()) {
	r.lock.Lock()
	defer r.lock.Unlock()
	c, changes := r.cluster(clusterID), make(chan *pb.WatchResponse, backlog)
	c.watchers[changes] = struct{}{}
	return c.messages(), changes, func() {
		r.lock.Lock()
		defer r.lock.Unlock()
		delete(c.watchers, changes)
	}
}

// expire forgets machines and endpoints that nobody told of again in time.
func (r *registry) expire() {
	r.lock.Lock()
	defer r.lock.Unlock()
	now := r.now()
	for _, c := range r.clusters {
		for id, a := range c.affiliates {
			before := len(a.endpoints)
			maps.DeleteFunc(a.endpoints, func(_ string, expires time.Time) bool { return expires.Before(now) })
			switch {
			case a.expires.Before(now):
				c.remove(id)
			case len(a.endpoints) < before:
				c.tell(&pb.WatchResponse{Affiliates: []*pb.Affiliate{a.message(id)}})
			}
		}
	}
}

func (r *registry) cluster(id string) *cluster {
	c, known := r.clusters[id]
	if !known {
		c = &cluster{map[string]*affiliate{}, map[chan *pb.WatchResponse]struct{}{}}
		r.clusters[id] = c
	}
	return c
}

func (c *cluster) remove(id string) {
	if _, known := c.affiliates[id]; !known {
		return
	}
	delete(c.affiliates, id)
	c.tell(&pb.WatchResponse{Affiliates: []*pb.Affiliate{{Id: id}}, Deleted: true})
}

func (c *cluster) tell(change *pb.WatchResponse) {
	for watcher := range c.watchers {
		select {
		case watcher <- change:
		default:
			delete(c.watchers, watcher)
			close(watcher)
		}
	}
}

func (c *cluster) messages() []*pb.Affiliate {
	var all []*pb.Affiliate
	for _, id := range slices.Sorted(maps.Keys(c.affiliates)) {
		all = append(all, c.affiliates[id].message(id))
	}
	return all
}

func (a *affiliate) message(id string) *pb.Affiliate {
	message := &pb.Affiliate{Id: id, Data: a.data}
	for _, endpoint := range slices.Sorted(maps.Keys(a.endpoints)) {
		message.Endpoints = append(message.Endpoints, []byte(endpoint))
	}
	return message
}
