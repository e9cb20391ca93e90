// Runs command-line tools of Java Kafka one after the other in one JVM.
//
// In: lines on stdin, `class TAB argument TAB argument ...`. Out, for each: a line `exit STATUS OUT ERR` and as many bytes
// of standard output and standard error. What a tool logs through log4j goes to the real standard error.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

public class Judge {
    static final class Ended extends Error {
        final int status;

        Ended(int status) {
            super("exit " + status, null, false, false);
            this.status = status;
        }
    }

    static int ended;

    public static void main(String[] words) throws Exception {
        PrintStream real = System.out;
        // A tool that catches everything goes on after its own exit; what it says then would never have been seen.
        Exit.Procedure end = (status, message) -> {
            if (ended < 0) ended = status;
            PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
            System.out.flush();
            System.err.flush();
            System.setOut(nowhere);
            System.setErr(nowhere);
            throw new Ended(status);
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(new byte[0]));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] all = line.split("\t", -1);
            ByteArrayOutputStream out = new ByteArrayOutputStream(), err = new ByteArrayOutputStream();
            System.setOut(new PrintStream(out, true, "UTF-8"));
            System.setErr(new PrintStream(err, true, "UTF-8"));
            int status = 0;
            ended = -1;
            try {
                Class.forName(all[0]).getMethod("main", String[].class)
                    .invoke(null, (Object) Arrays.copyOfRange(all, 1, all.length));
            } catch (InvocationTargetException e) {
                Throwable cause = e.getCause();
                while (!(cause instanceof Ended) && cause.getCause() != null) cause = cause.getCause();
                if (cause instanceof Ended) {
                    status = ((Ended) cause).status;
                } else {
                    e.getCause().printStackTrace();
                    status = 1;
                }
            } catch (Ended e) {
                status = e.status;
            }
            System.out.flush();
            System.err.flush();
            if (ended >= 0) status = ended;
            real.printf("exit %d %d %d%n", status, out.size(), err.size());
            OutputStream raw = real;
            raw.write(out.toByteArray());
            raw.write(err.toByteArray());
            real.flush();
        }
        Runtime.getRuntime().halt(0);
    }
}
