package wasm

// This file is the calls of WASI on paths.

func pathCreateDirectory(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	return r.files.mkdir(dir, path)
}

func pathFilestatGet(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[2], p[3])
	if e != success {
		return e
	}
	n, e := r.files.find(dir, path)
	if e != success {
		return e
	}
	return r.putStat(p[4], n)
}

func pathFilestatSetTimes(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[2], p[3])
	if e != success {
		return e
	}
	n, e := r.files.find(dir, path)
	if e != success {
		return e
	}
	return r.setTimes(n, p[4], p[5], p[6])
}

// Links are refused: a name means one thing.

func pathLink(r *run, p []uint64) errno {
	_, _, e1 := r.at(p[0], p[2], p[3])
	_, _, e2 := r.at(p[4], p[5], p[6])
	return cmpErr(cmpErr(e1, e2), eperm)
}

func pathSymlink(r *run, p []uint64) errno {
	_, _, e := r.at(p[2], p[3], p[4])
	return cmpErr(e, eperm)
}

func pathReadlink(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	_, e = r.files.find(dir, path)
	return cmpErr(e, einval) // it is there, and no link
}

func pathOpen(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[2], p[3])
	if e != success {
		return e
	}
	if _, e := r.bytes(p[8], 4); e != success {
		return e
	}
	const create, isDirectory, exclusive, truncate = 1, 2, 4, 8
	flags := uint32(p[4])
	has := func(f uint32) bool { return flags&f != 0 }
	if flags > 15 || uint32(p[7])&^flagsKnown != 0 || has(create) && has(isDirectory) {
		return einval
	}
	o := opening{
		create: has(create), exclusive: has(exclusive), truncate: has(truncate), directory: has(isDirectory),
		read: p[5]&rightRead != 0, write: p[5]&rightWrite != 0, flags: uint16(p[7]),
	}
	if !o.read && !o.write { // of programs that ask for no right
		o.read = true
		o.write = o.create || o.truncate || o.flags&flagAppend != 0
	}
	fd, e := r.files.openAt(dir, path, o)
	if e != success {
		return e
	}
	return r.put32(p[8], fd)
}

func pathRemoveDirectory(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	return r.files.unlink(dir, path, true)
}

func pathUnlinkFile(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	return r.files.unlink(dir, path, false)
}

func pathRename(r *run, p []uint64) errno {
	from, old, e1 := r.at(p[0], p[1], p[2])
	to, path, e2 := r.at(p[3], p[4], p[5])
	if e := cmpErr(e1, e2); e != success {
		return e
	}
	return r.files.rename(from, old, to, path)
}
