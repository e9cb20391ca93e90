// franz-go against the broker at argv[1], with topics that start with argv[2].
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	r "clients/records"
)

func client(bootstrap string, opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(5), // its delivery timeout counts from the record's own timestamp
	}, opts...)...)
	r.Must("client", err)
	return c
}

func produce(c *kgo.Client, topic string, startMs int64, numbers []int, partition func(int) int32) map[int]int64 {
	ctx, cancel := context.WithTimeout(context.Background(), r.Patience)
	defer cancel()
	var batch []*kgo.Record
	number := map[*kgo.Record]int{}
	for _, i := range numbers {
		record := r.At(i, startMs)
		out := &kgo.Record{Topic: topic, Partition: partition(i), Key: record.Key, Value: record.Value, Timestamp: time.UnixMilli(record.Ms)}
		for _, h := range record.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
		batch = append(batch, out)
		number[out] = i
	}
	offsets := map[int]int64{}
	for _, result := range c.ProduceSync(ctx, batch...) { // in the order of completion
		r.Must(fmt.Sprintf("produce record %d to %s", number[result.Record], topic), result.Err)
		offsets[number[result.Record]] = result.Record.Offset
	}
	return offsets
}

func read(bootstrap, topic string, partition int32, from kgo.Offset, count int) []*kgo.Record {
	ctx, cancel := context.WithTimeout(context.Background(), r.Patience)
	defer cancel()
	c := client(bootstrap, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}))
	defer c.Close()
	var found []*kgo.Record
	for len(found) < count {
		fetches := c.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			r.Failf("fetch %s-%d: %v (%d records so far)", topic, partition, e.Err, len(found))
		}
		found = append(found, fetches.Records()...)
	}
	r.Expect(fmt.Sprintf("records of %s-%d", topic, partition), len(found), count)
	return found
}

func check(what string, found []*kgo.Record, numbers []int, startMs, firstOffset int64) {
	r.Expect(what+": count", len(found), len(numbers))
	for at, record := range found {
		r.Expect(what+": offset", record.Offset, firstOffset+int64(at))
		out := r.Record{Key: record.Key, Value: record.Value, Ms: record.Timestamp.UnixMilli()}
		for _, h := range record.Headers {
			out.Headers = append(out.Headers, r.Header{Key: h.Key, Value: string(h.Value)})
		}
		r.Check(what, numbers[at], startMs, out, true)
	}
}

func zero(int) int32 { return 0 }
func four(int) int32 { return 4 }

func run(bootstrap, prefix string) {
	r.Name("franz-go", r.Version("github.com/twmb/franz-go"))
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	startMs := time.Now().UnixMilli() - 3_600_000
	adminClient := client(bootstrap)
	defer adminClient.Close()
	admin := kadm.NewClient(adminClient)
	create := func(topic string, partitions int32, configs map[string]*string) error {
		_, err := admin.CreateTopic(ctx, partitions, 1, configs, topic)
		return err
	}

	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := prefix + "-" + name
		r.Must("create", create(topic, r.Partitions, nil))
		listed, err := admin.ListTopics(ctx, topic)
		r.Must("list topics", err)
		r.Expect("partitions", len(listed[topic].Partitions), r.Partitions)
		p := client(bootstrap, kgo.ProducerBatchCompression(codecs[name]))
		offsets := produce(p, topic, startMs, r.Range(r.Count), r.Partition)
		p.Close()
		for partition := int32(0); partition < r.Partitions; partition++ {
			numbers := r.OfPartition(partition)
			for at, i := range numbers {
				r.Expect(name+": acknowledged offset", offsets[i], int64(at))
			}
			check(name, read(bootstrap, topic, partition, kgo.NewOffset().At(0), 100), numbers, startMs, 0)
			check(name+" from 41", read(bootstrap, topic, partition, kgo.NewOffset().At(41), 59), numbers[41:], startMs, 41)
		}
		r.OK("produce and read back " + name)
		after := startMs + 150*r.StepMs + 1
		listedOffsets, err := admin.ListOffsetsAfterMilli(ctx, after, topic)
		r.Must("offsets by timestamp", err)
		for partition := int32(0); partition < r.Partitions; partition++ {
			numbers := r.OfPartition(partition)
			at := 0
			for numbers[at] <= 150 {
				at++
			}
			found, _ := listedOffsets.Lookup(topic, partition)
			r.Must("offset by timestamp", found.Err)
			r.Expect("offset by timestamp", found.Offset, int64(at))
			messages := read(bootstrap, topic, partition, kgo.NewOffset().AfterMilli(after), 100-at)
			check(name+" by timestamp", messages, numbers[at:], startMs, int64(at))
		}
		r.OK("read by timestamp " + name)
	}

	for name, acks := range map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()} {
		topic := prefix + "-acks-" + name
		r.Must("create", create(topic, 1, nil))
		p := client(bootstrap, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
		produce(p, topic, startMs, r.Range(100), zero)
		p.Close()
		check("acks="+name, read(bootstrap, topic, 0, kgo.NewOffset().At(0), 100), r.Range(100), startMs, 0)
	}
	r.OK("acks 0, 1 and all")

	topic := prefix + "-idempotent"
	r.Must("create", create(topic, 1, nil))
	for series := 0; series < 2; series++ {
		p := client(bootstrap, kgo.ProducerBatchMaxBytes(2000))
		offsets := produce(p, topic, startMs, r.Range(1000), zero)
		p.Close()
		for i := 0; i < 1000; i++ {
			r.Expect("idempotent offset", offsets[i], int64(series*1000+i))
		}
	}
	messages := read(bootstrap, topic, 0, kgo.NewOffset().AtStart(), 2000)
	check("idempotent", messages[:1000], r.Range(1000), startMs, 0)
	check("idempotent, second", messages[1000:], r.Range(1000), startMs, 1000)
	r.OK("idempotent producer")

	topic = prefix + "-large"
	limit := "2000000"
	r.Must("create", create(topic, 1, map[string]*string{"max.message.bytes": &limit}))
	p := client(bootstrap, kgo.ProducerBatchMaxBytes(10_000_000), kgo.BrokerMaxWriteBytes(20_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	r.Must("below max.message.bytes", p.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 1_900_000)}).FirstErr())
	err := p.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 2_100_000)}).FirstErr()
	r.Expect("above max.message.bytes", errors.Is(err, kerr.MessageTooLarge), true)
	p.Close()
	r.Expect("it reads back", len(read(bootstrap, topic, 0, kgo.NewOffset().At(0), 1)[0].Value), 1_900_000)
	r.OK("large records")

	missing := prefix + "-missing"
	p = client(bootstrap, kgo.UnknownTopicRetries(1))
	err = p.ProduceSync(ctx, &kgo.Record{Topic: missing, Value: []byte("v")}).FirstErr()
	r.Expect(fmt.Sprintf("produce to an unknown topic (%v)", err), errors.Is(err, kerr.UnknownTopicOrPartition), true)
	p.Close()
	bad := "1"
	for what, pair := range map[string][2]error{
		"create twice":       {create(topic, 1, nil), kerr.TopicAlreadyExists},
		"a bad name":         {create("bad name", 1, nil), kerr.InvalidTopicException},
		"an unknown setting": {create(missing, 1, map[string]*string{"no.such.key": &bad}), kerr.InvalidConfig},
		"no partitions":      {create(missing, 0, nil), kerr.InvalidPartitions},
	} {
		r.Expect(fmt.Sprintf("%s (%v)", what, pair[0]), errors.Is(pair[0], pair[1]), true)
	}
	_, err = admin.ValidateCreateTopics(ctx, 1, 1, nil, missing)
	r.Must("validate only", err)
	listed, err := admin.ListTopics(ctx)
	r.Must("list", err)
	r.Expect("nothing made by it", listed.Has(missing), false)
	c := client(bootstrap, kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1_000_000)}}))
	outOfRange := c.PollFetches(ctx).Err0()
	if outOfRange == nil {
		for _, e := range c.PollFetches(ctx).Errors() {
			outOfRange = e.Err
		}
	}
	c.Close()
	r.Expect(fmt.Sprintf("offset out of range (%v)", outOfRange), errors.Is(outOfRange, kerr.OffsetOutOfRange), true)
	r.OK("errors")

	topic = prefix + "-gzip"
	grown, err := admin.UpdatePartitions(ctx, 5, topic)
	r.Must("create partitions", err)
	r.Must("create partitions", grown[topic].Err)
	grown, err = admin.UpdatePartitions(ctx, 2, topic)
	r.Must("fewer partitions", err)
	r.Expect("fewer partitions", errors.Is(grown[topic].Err, kerr.InvalidPartitions), true)
	p = client(bootstrap)
	produce(p, topic, startMs, r.Range(10), four)
	p.Close()
	check("new partition", read(bootstrap, topic, 4, kgo.NewOffset().At(0), 10), r.Range(10), startMs, 0)
	r.OK("create partitions")

	starts, err := admin.ListStartOffsets(ctx, topic)
	r.Must("start offsets", err)
	ends, err := admin.ListEndOffsets(ctx, topic)
	r.Must("end offsets", err)
	latest, err := admin.ListMaxTimestampOffsets(ctx, topic)
	r.Must("max timestamp offsets", err)
	first, _ := starts.Lookup(topic, 0)
	last, _ := ends.Lookup(topic, 0)
	newest, _ := latest.Lookup(topic, 0)
	r.Expect("list offsets", []int64{first.Offset, last.Offset, newest.Timestamp}, []int64{0, 100, startMs + 297*r.StepMs})
	r.OK("list offsets")

	configs, err := admin.DescribeTopicConfigs(ctx, prefix+"-large")
	r.Must("describe configs", err)
	values := map[string]string{}
	for _, config := range configs[0].Configs {
		values[config.Key] = config.MaybeValue()
	}
	r.Expect("max.message.bytes", values["max.message.bytes"], "2000000")
	r.Expect("cleanup.policy", values["cleanup.policy"], "delete")
	metadata, err := admin.BrokerMetadata(ctx)
	r.Must("cluster", err)
	r.Expect("brokers", len(metadata.Brokers), 1)
	configs, err = admin.DescribeBrokerConfigs(ctx, metadata.Brokers[0].NodeID)
	r.Must("describe broker configs", err)
	for _, config := range configs[0].Configs {
		values[config.Key] = config.MaybeValue()
	}
	r.Expect("log.segment.bytes", values["log.segment.bytes"], "1073741824")
	r.OK("describe configs and cluster")

	_, err = admin.DeleteTopic(ctx, topic)
	r.Must("delete", err)
	r.Until("deleted topic is gone", func() bool {
		listed, err := admin.ListTopics(ctx)
		r.Must("list", err)
		return !listed.Has(topic)
	})
	_, err = admin.DeleteTopic(ctx, topic)
	r.Expect(fmt.Sprintf("delete again (%v)", err), errors.Is(err, kerr.UnknownTopicOrPartition), true)
	r.OK("delete topics")
}

func main() { r.Run(run) }
