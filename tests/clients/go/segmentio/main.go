// segmentio's kafka-go against the broker at argv[1], with topics that start with argv[2].
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	r "clients/records"
)

type chosen struct{}

// Balance reads the partition that the caller put in front of the record.
func (c chosen) Balance(m kafka.Message, _ ...int) int { return m.WriterData.(int) }

func produce(bootstrap, topic string, startMs int64, numbers []int, partition func(int) int32, codec kafka.Compression, acks kafka.RequiredAcks) {
	w := &kafka.Writer{Addr: kafka.TCP(bootstrap), Topic: topic, Balancer: chosen{}, Compression: codec, RequiredAcks: acks,
		BatchTimeout: 5 * time.Millisecond, MaxAttempts: 3,
		Transport: &kafka.Transport{MetadataTTL: 100 * time.Millisecond}} // new partitions are seen soon
	var batch []kafka.Message
	for _, i := range numbers {
		record := r.At(i, startMs)
		m := kafka.Message{Key: record.Key, Value: record.Value, Time: time.UnixMilli(record.Ms), WriterData: int(partition(i))}
		for _, h := range record.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: []byte(h.Value)})
		}
		batch = append(batch, m)
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.Patience)
	defer cancel()
	r.Must("produce to "+topic, w.WriteMessages(ctx, batch...))
	r.Must("close", w.Close())
}

func reader(bootstrap, topic string, partition int) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: topic, Partition: partition,
		MaxWait: 50 * time.Millisecond, MinBytes: 1, MaxBytes: 10_000_000})
}

func take(what string, from *kafka.Reader, count int) []kafka.Message {
	defer from.Close()
	ctx, cancel := context.WithTimeout(context.Background(), r.Patience)
	defer cancel()
	var found []kafka.Message
	for len(found) < count {
		m, err := from.ReadMessage(ctx)
		r.Must(fmt.Sprintf("%s: after %d of %d records", what, len(found), count), err)
		found = append(found, m)
	}
	return found
}

func read(bootstrap, topic string, partition int, offset int64, count int) []kafka.Message {
	from := reader(bootstrap, topic, partition)
	r.Must("set offset", from.SetOffset(offset))
	return take(topic, from, count)
}

func check(what string, found []kafka.Message, numbers []int, startMs, firstOffset int64) {
	r.Expect(what+": count", len(found), len(numbers))
	for at, m := range found {
		r.Expect(what+": offset", m.Offset, firstOffset+int64(at))
		out := r.Record{Key: m.Key, Value: m.Value, Ms: m.Time.UnixMilli()}
		for _, h := range m.Headers {
			out.Headers = append(out.Headers, r.Header{Key: h.Key, Value: string(h.Value)})
		}
		r.Check(what, numbers[at], startMs, out, false)
	}
}

func zero(int) int32 { return 0 }
func four(int) int32 { return 4 }

func run(bootstrap, prefix string) {
	r.Name("kafka-go", r.Version("github.com/segmentio/kafka-go"))
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	startMs := time.Now().UnixMilli() - 3_600_000
	client := &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: r.Patience}
	create := func(topic string, partitions int, entries ...kafka.ConfigEntry) error {
		answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
			{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}}})
		r.Must("create topics", err)
		return answer.Errors[topic]
	}
	known := func(topic string) bool {
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		r.Must("metadata", err)
		for _, t := range answer.Topics {
			if t.Name == topic {
				return true
			}
		}
		return false
	}

	codecs := []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
	for at, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := prefix + "-" + name
		r.Must("create", create(topic, r.Partitions))
		r.Until("topic is known", func() bool { return known(topic) })
		produce(bootstrap, topic, startMs, r.Range(r.Count), r.Partition, codecs[at], kafka.RequireAll)
		for partition := 0; partition < r.Partitions; partition++ {
			numbers := r.OfPartition(int32(partition))
			check(name, read(bootstrap, topic, partition, 0, 100), numbers, startMs, 0)
			check(name+" from 41", read(bootstrap, topic, partition, 41, 59), numbers[41:], startMs, 41)
			first := 0
			for numbers[first] <= 150 {
				first++
			}
			from := reader(bootstrap, topic, partition)
			r.Must("set offset by timestamp", from.SetOffsetAt(ctx, time.UnixMilli(startMs+150*r.StepMs+1)))
			r.Expect("offset by timestamp", from.Offset(), int64(first))
			check(name+" by timestamp", take(topic, from, 100-first), numbers[first:], startMs, int64(first))
		}
		r.OK("produce, read back by offset and by timestamp " + name)
	}

	for name, acks := range map[string]kafka.RequiredAcks{"0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll} {
		topic := prefix + "-acks-" + name
		r.Must("create", create(topic, 1))
		r.Until("topic is known", func() bool { return known(topic) })
		produce(bootstrap, topic, startMs, r.Range(100), zero, 0, acks)
		check("acks="+name, read(bootstrap, topic, 0, 0, 100), r.Range(100), startMs, 0)
	}
	r.OK("acks 0, 1 and all")

	topic := prefix + "-large"
	r.Must("create", create(topic, 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "2000000"}))
	r.Until("topic is known", func() bool { return known(topic) })
	w := &kafka.Writer{Addr: kafka.TCP(bootstrap), Topic: topic, BatchBytes: 10_000_000, BatchTimeout: 5 * time.Millisecond, MaxAttempts: 1, RequiredAcks: kafka.RequireAll}
	r.Must("below max.message.bytes", w.WriteMessages(ctx, kafka.Message{Value: make([]byte, 1_900_000)}))
	err := w.WriteMessages(ctx, kafka.Message{Value: make([]byte, 2_100_000)})
	r.Expect(fmt.Sprintf("above max.message.bytes (%v)", err), errors.Is(unwrap(err), kafka.MessageSizeTooLarge), true)
	r.Must("close", w.Close())
	r.Expect("it reads back", len(read(bootstrap, topic, 0, 0, 1)[0].Value), 1_900_000)
	r.OK("large records")

	missing := prefix + "-missing"
	w = &kafka.Writer{Addr: kafka.TCP(bootstrap), Topic: missing, BatchTimeout: 5 * time.Millisecond, MaxAttempts: 1, RequiredAcks: kafka.RequireAll}
	err = w.WriteMessages(ctx, kafka.Message{Value: []byte("v")})
	r.Expect(fmt.Sprintf("produce to an unknown topic (%v)", err), errors.Is(unwrap(err), kafka.UnknownTopicOrPartition), true)
	r.Must("close", w.Close())
	for what, pair := range map[string][2]error{
		"create twice":       {create(topic, 1), kafka.TopicAlreadyExists},
		"a bad name":         {create("bad name", 1), kafka.InvalidTopic},
		"an unknown setting": {create(missing, 1, kafka.ConfigEntry{ConfigName: "no.such.key", ConfigValue: "1"}), kafka.InvalidConfiguration},
	} {
		r.Expect(fmt.Sprintf("%s (%v)", what, pair[0]), errors.Is(pair[0], pair[1]), true)
	}
	r.OK("errors")

	topic = prefix + "-gzip"
	grow := func(count int32) error {
		answer, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: count}}})
		r.Must("create partitions", err)
		return answer.Errors[topic]
	}
	r.Must("create partitions", grow(5))
	r.Expect("fewer partitions", errors.Is(grow(2), kafka.InvalidPartitionNumber), true)
	produce(bootstrap, topic, startMs, r.Range(10), four, 0, kafka.RequireAll)
	check("new partition", read(bootstrap, topic, 4, 0, 10), r.Range(10), startMs, 0)
	r.OK("create partitions")

	offsets, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}})
	r.Must("list offsets", err)
	r.Expect("list offsets", []int64{offsets.Topics[topic][0].FirstOffset, offsets.Topics[topic][0].LastOffset}, []int64{0, 100})
	r.OK("list offsets")

	configs, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: prefix + "-large"}}})
	r.Must("describe configs", err)
	values := map[string]string{}
	for _, entry := range configs.Resources[0].ConfigEntries {
		values[entry.ConfigName] = entry.ConfigValue
	}
	r.Expect("max.message.bytes", values["max.message.bytes"], "2000000")
	r.Expect("cleanup.policy", values["cleanup.policy"], "delete")
	r.OK("describe configs")

	remove := func() error {
		answer, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		r.Must("delete topics", err)
		return answer.Errors[topic]
	}
	r.Must("delete", remove())
	r.Until("deleted topic is gone", func() bool { return !known(topic) })
	r.Expect("delete again", errors.Is(remove(), kafka.UnknownTopicOrPartition), true)
	r.OK("delete topics")
	r.Skip("idempotent producer", "the library has none")
}

// unwrap finds the broker's own error in a writer's list of errors per message.
func unwrap(err error) error {
	var list kafka.WriteErrors
	if errors.As(err, &list) {
		for _, each := range list {
			if each != nil {
				return each
			}
		}
	}
	return err
}

func main() { r.Run(run) }
