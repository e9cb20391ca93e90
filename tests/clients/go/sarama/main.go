// sarama against the broker at argv[1], with topics that start with argv[2]. It runs its whole programme
// at two protocol releases: the library's default, and the newest it knows.
package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	r "clients/records"
)

func config(version sarama.KafkaVersion) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = version
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 50 * time.Millisecond
	c.Metadata.Retry.Max = 1
	c.Producer.Retry.Max = 1
	return c
}

func produce(bootstrap string, c *sarama.Config, topic string, startMs int64, numbers []int, partition func(int) int32) map[int]int64 {
	p, err := sarama.NewSyncProducer([]string{bootstrap}, c)
	r.Must("producer", err)
	defer p.Close()
	var batch []*sarama.ProducerMessage
	for _, i := range numbers {
		record := r.At(i, startMs)
		m := &sarama.ProducerMessage{Topic: topic, Partition: partition(i), Timestamp: time.UnixMilli(record.Ms)}
		if record.Key != nil {
			m.Key = sarama.ByteEncoder(record.Key)
		}
		if record.Value != nil {
			m.Value = sarama.ByteEncoder(record.Value)
		}
		for _, h := range record.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: []byte(h.Value)})
		}
		batch = append(batch, m)
	}
	r.Must("produce to "+topic, p.SendMessages(batch))
	offsets := map[int]int64{}
	for at, m := range batch {
		offsets[numbers[at]] = m.Offset
	}
	return offsets
}

func read(client sarama.Client, topic string, partition int32, from int64, count int) []*sarama.ConsumerMessage {
	consumer, err := sarama.NewConsumerFromClient(client)
	r.Must("consumer", err)
	defer consumer.Close()
	pc, err := consumer.ConsumePartition(topic, partition, from)
	r.Must(fmt.Sprintf("consume %s-%d from %d", topic, partition, from), err)
	defer pc.Close()
	var found []*sarama.ConsumerMessage
	deadline := time.After(r.Patience)
	for len(found) < count {
		select {
		case m := <-pc.Messages():
			found = append(found, m)
		case err := <-pc.Errors():
			r.Failf("consume %s-%d: %v", topic, partition, err)
		case <-deadline:
			r.Failf("consume %s-%d: %d of %d records within %s", topic, partition, len(found), count, r.Patience)
		}
	}
	return found
}

func check(what string, found []*sarama.ConsumerMessage, numbers []int, startMs, firstOffset int64) {
	r.Expect(what+": count", len(found), len(numbers))
	for at, m := range found {
		r.Expect(what+": offset", m.Offset, firstOffset+int64(at))
		out := r.Record{Key: m.Key, Value: m.Value, Ms: m.Timestamp.UnixMilli()}
		for _, h := range m.Headers {
			out.Headers = append(out.Headers, r.Header{Key: string(h.Key), Value: string(h.Value)})
		}
		r.Check(what, numbers[at], startMs, out, false) // it reads an empty value as null
	}
}

func zero(int) int32 { return 0 }
func four(int) int32 { return 4 }

func run(bootstrap, prefix string) {
	r.Name("sarama", r.Version("github.com/IBM/sarama"))
	for _, version := range []sarama.KafkaVersion{sarama.DefaultVersion, sarama.MaxVersion} {
		programme(bootstrap, fmt.Sprintf("%s-%s", prefix, version), version)
	}
}

func programme(bootstrap, prefix string, version sarama.KafkaVersion) {
	startMs := time.Now().UnixMilli() - 3_600_000
	client, err := sarama.NewClient([]string{bootstrap}, config(version))
	r.Must("client", err)
	defer client.Close()
	admin, err := sarama.NewClusterAdminFromClient(client)
	r.Must("admin", err)
	create := func(topic string, partitions int32, configs map[string]*string) error {
		err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}, false)
		if err == nil {
			r.Must("refresh", client.RefreshMetadata(topic))
		}
		return err
	}
	suffix := fmt.Sprintf(" (at release %s)", version)

	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		topic := prefix + "-" + codec.String()
		r.Must("create", create(topic, r.Partitions, nil))
		partitions, err := client.Partitions(topic)
		r.Must("partitions", err)
		r.Expect("partitions", partitions, []int32{0, 1, 2})
		c := config(version)
		c.Producer.Compression = codec
		offsets := produce(bootstrap, c, topic, startMs, r.Range(r.Count), r.Partition)
		for partition := int32(0); partition < r.Partitions; partition++ {
			numbers := r.OfPartition(partition)
			for at, i := range numbers {
				r.Expect(codec.String()+": acknowledged offset", offsets[i], int64(at))
			}
			check(codec.String(), read(client, topic, partition, sarama.OffsetOldest, 100), numbers, startMs, 0)
			check(codec.String()+" from 41", read(client, topic, partition, 41, 59), numbers[41:], startMs, 41)
			at := 0
			for numbers[at] <= 150 {
				at++
			}
			found, err := client.GetOffset(topic, partition, startMs+150*r.StepMs+1)
			r.Must("offset by timestamp", err)
			r.Expect("offset by timestamp", found, int64(at))
			check(codec.String()+" by timestamp", read(client, topic, partition, found, 100-at), numbers[at:], startMs, int64(at))
		}
		r.OK("produce, read back by offset and by timestamp " + codec.String() + suffix)
	}

	for name, acks := range map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll} {
		topic := prefix + "-acks-" + name
		r.Must("create", create(topic, 1, nil))
		c := config(version)
		c.Producer.RequiredAcks = acks
		produce(bootstrap, c, topic, startMs, r.Range(100), zero)
		check("acks="+name, read(client, topic, 0, 0, 100), r.Range(100), startMs, 0)
	}
	r.OK("acks 0, 1 and all" + suffix)

	topic := prefix + "-idempotent"
	r.Must("create", create(topic, 1, nil))
	for series := 0; series < 2; series++ {
		c := config(version)
		c.Producer.Idempotent = true
		c.Producer.Retry.Max = 5
		c.Producer.Flush.MaxMessages = 20
		c.Net.MaxOpenRequests = 1 // the library demands it
		offsets := produce(bootstrap, c, topic, startMs, r.Range(1000), zero)
		for i := 0; i < 1000; i++ {
			r.Expect("idempotent offset", offsets[i], int64(series*1000+i))
		}
	}
	messages := read(client, topic, 0, 0, 2000)
	check("idempotent", messages[:1000], r.Range(1000), startMs, 0)
	check("idempotent, second", messages[1000:], r.Range(1000), startMs, 1000)
	r.OK("idempotent producer" + suffix)

	topic = prefix + "-large"
	limit := "2000000"
	r.Must("create", create(topic, 1, map[string]*string{"max.message.bytes": &limit}))
	c := config(version)
	c.Producer.MaxMessageBytes = 10_000_000
	p, err := sarama.NewSyncProducer([]string{bootstrap}, c)
	r.Must("producer", err)
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(make([]byte, 1_900_000))})
	r.Must("below max.message.bytes", err)
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(make([]byte, 2_100_000))})
	r.Expect(fmt.Sprintf("above max.message.bytes (%v)", err), errors.Is(err, sarama.ErrMessageSizeTooLarge), true)
	missing := prefix + "-missing"
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: missing, Value: sarama.StringEncoder("v")})
	r.Expect(fmt.Sprintf("produce to an unknown topic (%v)", err), errors.Is(err, sarama.ErrUnknownTopicOrPartition), true)
	r.Must("close", p.Close())
	r.Expect("it reads back", len(read(client, topic, 0, 0, 1)[0].Value), 1_900_000)
	r.OK("large records" + suffix)

	bad := "1"
	for what, pair := range map[string][2]error{
		"create twice":       {create(topic, 1, nil), sarama.ErrTopicAlreadyExists},
		"a bad name":         {create("bad name", 1, nil), sarama.ErrInvalidTopic},
		"an unknown setting": {create(missing, 1, map[string]*string{"no.such.key": &bad}), sarama.ErrInvalidConfig},
	} {
		r.Expect(fmt.Sprintf("%s (%v)", what, pair[0]), errors.Is(pair[0], pair[1]), true)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	r.Must("consumer", err)
	_, err = consumer.ConsumePartition(topic, 0, 1_000_000)
	r.Expect(fmt.Sprintf("offset out of range (%v)", err), errors.Is(err, sarama.ErrOffsetOutOfRange), true)
	r.Must("close", consumer.Close())
	r.OK("errors" + suffix)

	topic = prefix + "-gzip"
	r.Must("create partitions", admin.CreatePartitions(topic, 5, nil, false))
	err = admin.CreatePartitions(topic, 2, nil, false)
	r.Expect(fmt.Sprintf("fewer partitions (%v)", err), errors.Is(err, sarama.ErrInvalidPartitions), true)
	r.Must("refresh", client.RefreshMetadata(topic))
	produce(bootstrap, config(version), topic, startMs, r.Range(10), four)
	check("new partition", read(client, topic, 4, 0, 10), r.Range(10), startMs, 0)
	r.OK("create partitions" + suffix)

	oldest, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
	r.Must("oldest", err)
	newest, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
	r.Must("newest", err)
	r.Expect("list offsets", []int64{oldest, newest}, []int64{0, 100})
	r.OK("list offsets" + suffix)

	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: prefix + "-large"})
	r.Must("describe configs", err)
	values := map[string]string{}
	for _, entry := range entries {
		values[entry.Name] = entry.Value
	}
	r.Expect("max.message.bytes", values["max.message.bytes"], "2000000")
	r.Expect("cleanup.policy", values["cleanup.policy"], "delete")
	brokers, _, err := admin.DescribeCluster()
	r.Must("describe cluster", err)
	r.Expect("brokers", len(brokers), 1)
	r.OK("describe configs and cluster" + suffix)

	r.Must("delete", admin.DeleteTopic(topic))
	r.Until("deleted topic is gone", func() bool {
		topics, err := admin.ListTopics()
		r.Must("list", err)
		_, there := topics[topic]
		return !there
	})
	err = admin.DeleteTopic(topic)
	r.Expect(fmt.Sprintf("delete again (%v)", err), errors.Is(err, sarama.ErrUnknownTopicOrPartition), true)
	r.OK("delete topics" + suffix)
}

func main() { r.Run(run) }
