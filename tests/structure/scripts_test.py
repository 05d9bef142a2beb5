"""check.sh and tools/install_dependencies.sh, with stubs in place of every program that they call."""
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Scripts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.tree = Path(self.folder.name)
        self.bin = self.tree / "bin"
        self.bin.mkdir()
        self.log = self.tree / "log"
        self.log.write_text("")
        shutil.copy(ROOT / "check.sh", self.tree)

    def stub(self, name, script, folder="bin"):
        (self.tree / folder).mkdir(exist_ok=True)
        path = self.tree / folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.log}"\n{script}\n')
        path.chmod(0o755)

    def run_script(self, *command, path):
        done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr, self.log.read_text()

    def install(self, *what):
        return self.run_script("/bin/sh", str(ROOT / "tools/install_dependencies.sh"), *what, path=str(self.bin))

    def test_nothing_is_installed_where_all_is_present(self):
        self.stub("dpkg-query", 'printf "install ok installed"')
        self.stub("apt-get", "exit 1")
        status, output, log = self.install()
        self.assertEqual((status, output), (0, "All packages are present.\n"))
        self.assertNotIn("apt-get", log)

    def test_root_installs_what_is_missing_and_no_more(self):
        self.stub("dpkg-query", 'test "$4" != ninja-build && printf "install ok installed"')
        self.stub("id", "echo 0")
        self.stub("apt-get", "")
        os.symlink(shutil.which("env"), self.bin / "env")
        status, _, log = self.install()
        self.assertEqual(status, 0)
        self.assertIn("--no-install-recommends ninja-build\n", log)

    def test_the_quickstart_installs_less_than_the_tests(self):
        self.stub("dpkg-query", "exit 1")
        self.stub("id", "echo 0")
        self.stub("apt-get", "")
        os.symlink(shutil.which("env"), self.bin / "env")
        status, _, log = self.install("quickstart")
        self.assertEqual(status, 0)
        self.assertIn(" g++ ", log)
        self.assertNotIn("catch2", log)
        self.assertEqual(self.install("everything")[0], 2)

    def test_sudo_is_used_by_others(self):
        self.stub("dpkg-query", "exit 1")
        self.stub("id", "echo 1000")
        self.stub("sudo", "")
        status, _, log = self.install()
        self.assertEqual(status, 0)
        self.assertIn("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -qq install", log)

    def test_without_root_and_sudo_there_is_a_plain_sentence(self):
        self.stub("dpkg-query", "exit 1")
        self.stub("id", "echo 1000")
        status, output, _ = self.install()
        self.assertEqual(status, 1)
        self.assertIn("neither root nor allowed to use sudo", output)
        self.assertIn("apt-get install g++ cmake ninja-build", output)

    def check(self, **failing):
        for name, folder in [("install_dependencies.sh", "tools"), ("format.sh", "tools"), ("cmake", "bin"), ("ctest", "bin")]:
            self.stub(name, f"exit {failing.get(name.split('.')[0], 0)}", folder)
        path = f"{self.bin}:{os.environ['PATH']}"
        status, output, _ = self.run_script("bash", str(self.tree / "check.sh"), path=path)
        return status, output.strip().splitlines()[-1]

    def test_the_last_line_says_what_passed(self):
        status, line = self.check()
        self.assertEqual(status, 0)
        self.assertRegex(line, r"^check\.sh: all passed in \d+ s: packages, format, .*test clang")

    def test_what_could_not_be_run_is_named(self):
        status, line = self.check(format=3)
        self.assertEqual(status, 0)
        self.assertTrue(line.endswith("SKIPPED: format."), line)

    def test_the_stage_that_failed_is_named_and_ends_the_run(self):
        for failing, stage in [("install_dependencies", "packages"), ("format", "format"), ("cmake", "configure ci"),
                               ("ctest", "test ci")]:
            with self.subTest(stage=stage):
                status, line = self.check(**{failing: 1})
                self.assertEqual(status, 1)
                self.assertIn(f'FAILED in stage "{stage}"', line)


if __name__ == "__main__":
    unittest.main()
