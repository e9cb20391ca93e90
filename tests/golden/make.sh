#!/bin/sh
# Writes messages, batches, verdicts and assignments.jsonl.gz anew: the serializers of Java's kafka-clients wrote the first
# two, the validator of its broker judged the third, its AdminUtils put the partitions of the fourth on brokers.
# Needs a JDK (17 or later) and Maven; the tests that read the files need neither.
#
# segments.jsonl.gz holds segments that brokers of 1.0.0 (k100), 2.8.2 (k282) and 3.9.1 (k391) wrote, each stopped
# cleanly. With their log directories as ./RELEASE/TOPIC-PARTITION/ it was made by
#     java -cp ... Batches k100/*/*.log k282/*/*.log k391/*/*.log | gzip -9n
#
# znodes.jsonl.gz holds what brokers of the same releases, three at a time, wrote into ZooKeeper; see tests/znodes.rs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mvn -q -B -f "$here/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/lib"
mkdir "$work/classes"
javac -cp "$work/lib/*" -d "$work/classes" "$here"/java/*.java
for program in Messages Batches Verdicts Assignments; do
    file=$(echo "$program" | tr MBVA mbva).jsonl
    java -cp "$work/classes:$work/lib/*" "$program" > "$work/$file"
    gzip -9nc "$work/$file" > "$here/$file.gz"
    echo "$file.gz: $(wc -l < "$work/$file") lines"
done
